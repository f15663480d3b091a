"""How a stage is run: retries, names, limits. No decisions."""
