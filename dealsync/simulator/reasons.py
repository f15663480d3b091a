"""HTTP reason phrases: both APIs use them as titles of errors."""

from http import HTTPStatus
from typing import Final

PHRASES: Final = {**{status.value: status.phrase for status in HTTPStatus}, 422: "Unprocessable Entity"}


def reason(status: int) -> str:
    """Return the standard phrase of a status; for one that has none, its number."""
    return PHRASES.get(status, str(status))
