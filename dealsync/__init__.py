"""Keeps Kommo deals true to Lemon Squeezy payments."""

from importlib.metadata import version

__version__ = version("dealsync")
