"""What the control routes share: reading a body and refusing nonsense in one clear line."""

import json
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dealsync.simulator.table import Record


class InputError(ValueError):
    """Control input that makes no sense: a 400, or a 404 for an id that is not there."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


Handler: TypeAlias = Callable[[Request, Record], Awaitable[Response]]


def route(path: str, method: str, handler: Handler) -> Route:
    """Return a route whose handler gets the request and its JSON body; an InputError becomes its answer."""

    async def endpoint(request: Request) -> Response:
        try:
            return await handler(request, await _body(request))
        except InputError as bad:
            return JSONResponse({"error": str(bad)}, bad.status)

    return Route(path, endpoint, methods=[method])


async def _body(request: Request) -> Record:
    raw = await request.body()
    if not raw.strip():
        return {}
    try:
        body = json.loads(raw)
    except ValueError:
        raise InputError("the body is not valid JSON") from None
    if not isinstance(body, dict):
        raise InputError("the body must be a JSON object")
    return body


def only(body: Record, names: str) -> None:
    """Refuse keys that are not among `names` (separated by blanks): a typing error must not go unseen."""
    unknown = sorted(set(body) - set(names.split()))
    if unknown:
        raise InputError(f"unknown key {', '.join(unknown)}; known are: {', '.join(names.split())}")


def text(body: Record, name: str, default: str | None = None) -> str:
    """Return a text that is not blank; without a default it must be there."""
    value = default if body.get(name) is None else body[name]
    if value is None:
        raise InputError(f"{name} is missing")
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{name} must be a text")
    return value


def flag(body: Record, name: str, *, default: bool) -> bool:
    """Return true or false."""
    value = body.get(name, default)
    if not isinstance(value, bool):
        raise InputError(f"{name} must be true or false")
    return value


def number(body: Record, name: str, default: float | None, *, whole: bool = False) -> float:
    """Return a number from 0 up; without a default it must be there."""
    value = default if body.get(name) is None else body[name]
    if value is None:
        raise InputError(f"{name} is missing")
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or value < 0:
        raise InputError(f"{name} must be a {'whole ' if whole else ''}number from 0 up")
    return value


def count(body: Record, name: str, default: int) -> int:
    """Return a whole number from 1 up."""
    value = int(number(body, name, default, whole=True))
    if value < 1:
        raise InputError(f"{name} must be at least 1")
    return value
