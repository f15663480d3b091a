"""What the rules do: small functions of a case. The table that says when is in `core.rules`."""
