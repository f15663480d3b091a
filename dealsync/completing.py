"""What a shell may complete: the beginnings of objects' names. Their ids would take a database."""

from __future__ import annotations

OBJECTS = ("order:", "lead:", "subscription:", "invoice:")


def objects(incomplete: str) -> list[str]:
    """Return how an object's name may begin."""
    return [kind for kind in OBJECTS if kind.startswith(incomplete)]


def orders(incomplete: str) -> list[str]:
    """Return how the name of an order begins."""
    return [kind for kind in OBJECTS[:1] if kind.startswith(incomplete)]
