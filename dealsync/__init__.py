"""Keeps Kommo deals true to Lemon Squeezy payments."""

import logging

# Whoever runs us decides what becomes of our log: Prefect keeps it, the command line shows it with --debug.
logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> str:
    """Return `__version__`: looking it up takes as long as a tenth of `dealsync --help`."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version

    return version("dealsync")
