"""GET /claim: the buyer comes back from the checkout. What the link says is stored as evidence; he is thanked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from dealsync.core.claims import claim_of
from dealsync.ledger.evidence import Evidence
from dealsync.receiver.page import Page


class ClaimRoute:
    """Takes claims in."""

    def __init__(self, evidence: Evidence, key: bytes, page: Page, clock: Callable[[], datetime]) -> None:
        self._evidence = evidence
        self._key = key
        self._page = page
        self._clock = clock

    async def visit(self, request: Request) -> Response:
        """Thank a buyer whose link is whole, and store what it says the first time; tell others that it is not whole.

        A link that named this order before, or too many others, claims nothing more, and its visitor is thanked again.
        So is one whose claim cannot be stored just now: other evidence finds the payment, and the buyer can do nothing.
        """
        claim = claim_of(request.query_params, self._key)
        if claim is None:
            return self._page.incomplete()
        try:
            await run_in_threadpool(self._evidence.keep_claim, claim, self._clock())
        except SQLAlchemyError:
            return self._page.thanks(status_code=503)
        return self._page.thanks()
