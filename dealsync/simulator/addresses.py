"""Where an API is mounted, seen from one of its requests."""

from starlette.requests import Request


def mounted_at(request: Request) -> str:
    """Return the address of the API's root, e.g. `http://127.0.0.1:8787/kommo`.

    `request.base_url` would name the outer application.
    """
    return f"{request.url.scheme}://{request.url.netloc}{request.scope.get('root_path', '')}"
