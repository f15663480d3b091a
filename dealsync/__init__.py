"""Keeps Kommo deals true to Lemon Squeezy payments."""

import logging
from importlib.metadata import version

__version__ = version("dealsync")

# Whoever runs us decides what becomes of our log: Prefect keeps it, the command line shows it with --debug.
logging.getLogger(__name__).addHandler(logging.NullHandler())
