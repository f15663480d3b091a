"""The two wires. Raw JSON does not leave this package."""
