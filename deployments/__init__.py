"""How the flows get to a server."""
