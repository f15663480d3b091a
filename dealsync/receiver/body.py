"""The raw body of a request: bounded in size and in time."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect, Request

LARGEST_BODY = 1_000_000
SLOWEST_S = 10.0
"""How long a body may take; both senders give up far earlier."""


class BadBody(Exception):
    """A body that is not read to its end. `status` is the answer, `reason` a word for the metrics."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


async def raw_body(request: Request) -> bytes:
    """Return the bytes as they came. Raises BadBody as soon as they are too many, too slow or cut off."""
    promised = request.headers.get("content-length", "")
    if promised.isdecimal() and int(promised[:20]) > LARGEST_BODY:
        raise BadBody(413, "too large")
    parts, size = [], 0
    try:
        async with asyncio.timeout(SLOWEST_S):
            async for part in request.stream():
                size += len(part)
                if size > LARGEST_BODY:
                    raise BadBody(413, "too large")
                parts.append(part)
    except TimeoutError as error:
        raise BadBody(408, "too slow") from error
    except ClientDisconnect as error:
        raise BadBody(400, "cut off") from error  # nobody reads it; the event will come again
    return b"".join(parts)
