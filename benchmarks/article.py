"""The usual handler, to compare with: it works inside the request, with two calls to Kommo for each payment.

Written anew from its description. It is kinder than the description asks for: its calls keep below Kommo's limit, so
that it is not banned. `python -m benchmarks.article` serves it, and prints its address.
"""

from __future__ import annotations

import asyncio
import json
import os
import time

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from dealsync.receiver.serve import listener

WON = 142
SPACING_S = 1 / 6


class Handler:
    """Takes a payment's webhook, reads the deal, closes it, and answers."""

    def __init__(self, kommo: httpx.AsyncClient) -> None:
        self._kommo = kommo
        self._turn = asyncio.Lock()
        self.done: dict[str, float] = {}

    async def receive(self, request: Request) -> Response:
        """Answer once the deal is closed."""
        event = json.loads(await request.body())
        lead_id = (event["meta"].get("custom_data") or {}).get("kommo_lead_id")
        if event["meta"]["event_name"] != "order_created" or lead_id is None:
            return PlainTextResponse("ignored")
        try:
            await self._call("GET", f"/api/v4/leads/{lead_id}")
            await self._call("PATCH", f"/api/v4/leads/{lead_id}", {"status_id": WON})
        except httpx.HTTPError:
            return PlainTextResponse("Kommo failed", status_code=502)
        self.done.setdefault(str(event["data"]["id"]), time.time())
        return PlainTextResponse("done")

    async def shown(self, _request: Request) -> Response:
        """Answer when each order was done (Unix seconds)."""
        return JSONResponse(self.done)

    async def _call(self, method: str, path: str, body: object = None) -> None:
        async with self._turn:
            await asyncio.sleep(SPACING_S)
        (await self._kommo.request(method, path, json=body)).raise_for_status()


def main() -> None:
    """Serve on a free port until stopped."""
    token = os.environ["KOMMO_TOKEN"]
    kommo = httpx.AsyncClient(
        base_url=os.environ["KOMMO_API_URL"], headers={"Authorization": f"Bearer {token}"}, timeout=30
    )
    handler = Handler(kommo)
    routes = [
        Route("/webhooks/lemon-squeezy", handler.receive, methods=["POST"]),
        Route("/done", handler.shown, methods=["GET"]),
    ]
    with listener("127.0.0.1", 0) as listening:
        print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
        uvicorn.Server(uvicorn.Config(Starlette(routes=routes), log_level="error", access_log=False)).run([listening])


if __name__ == "__main__":
    main()
