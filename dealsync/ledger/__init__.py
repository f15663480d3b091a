"""What was seen (mirror), what it belongs to (links), what was meant and done (ledger), in SQL."""
