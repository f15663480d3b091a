"""OAuth tokens of a Kommo integration: exchanged once, renewed in time, by one process at a time.

A renewal kills the old pair and its answer can be lost, so it is never repeated: the present access token serves
until it ends, and then a person has to make a new code. Source: Kommo reference, "Authorisation".
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from dealsync.apis.border import Int64, Text, Wire, parse
from dealsync.apis.kommo.refusals import read_error
from dealsync.apis.pace import Pace
from dealsync.apis.transport import FixedToken, Transport
from dealsync.core.tokens import StoredTokens, TokenPair
from dealsync.errors import AnswerLost, Banned, Rejected, Unauthorized, Unreachable

PATH = "/oauth2/access_token"
MARGIN = timedelta(hours=1)
"""How long before its end an access token is renewed: as long as a lost answer goes unnoticed by the runs."""
LOST_AFTER = timedelta(seconds=180)
"""A renewal whose answer is not stored by then never will be: longer than a turn, a hold and a request can last."""
LOOK_AGAIN_S = 0.25
LONGEST_LIFE_S = 366 * 24 * 3600
NEW_CODE = "make a new authorisation code in Kommo (it lives 20 minutes) and set KOMMO_AUTH_CODE"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Integration:
    """Who asks for tokens."""

    client_id: str
    client_secret: str
    redirect_uri: str
    code: str = ""  # may be empty once a pair is stored


class Vault(Protocol):
    """Where all processes find the pair; `dealsync.ledger.tokens` is one."""

    def load(self) -> StoredTokens | None: ...  # noqa: D102

    def claim_code(self, digest: str, *, lost_after: timedelta) -> bool: ...  # noqa: D102

    def claim_renewal(self, refresh_token: str) -> bool: ...  # noqa: D102

    def release(self, unsent_code: str = "") -> None: ...  # noqa: D102

    def store(self, pair: TokenPair) -> None: ...  # noqa: D102


class _Answer(Wire):
    access_token: Text
    refresh_token: Text
    expires_in: Int64


class OAuth:
    """Tokens for `Transport`. A new pair is stored before it is used."""

    def __init__(
        self,
        integration: Integration,
        vault: Vault,
        *,
        origin: str,
        pace: Pace,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._integration = integration
        self._vault = vault
        self._clock = clock
        self._digest = hashlib.sha256(integration.code.strip().encode()).hexdigest() if integration.code.strip() else ""
        self._transport = Transport(api="kommo", origin=origin, auth=FixedToken(""), pace=pace, read_error=read_error)

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def token(self) -> str:
        """Return the access token, renewed if it is about to end. Raises Unauthorized when a person has to act."""
        return await self._token(refused=None)

    async def replacement(self, refused: str) -> str | None:
        """Return the token of a newer pair, asked for if nobody else did."""
        return await self._token(refused=refused)

    async def _token(self, refused: str | None) -> str:
        while True:
            stored = self._vault.load()
            if self._digest and (stored is None or self._digest not in stored.codes):
                if self._vault.claim_code(self._digest, lost_after=LOST_AFTER):
                    return await self._finished(self._exchange_code())
            elif stored is None or (stored.pair is None and stored.renewing_since is None):
                raise Unauthorized(
                    f"There are no tokens for Kommo yet, and no code that was not sent before; {NEW_CODE}"
                )
            elif stored.pair and self._is_good(stored, refused):
                return stored.pair.access_token
            elif stored.pair and self._vault.claim_renewal(stored.pair.refresh_token):
                return await self._finished(self._renew(stored.pair))
            self._stop_if_lost(self._vault.load())
            await asyncio.sleep(LOOK_AGAIN_S)

    @staticmethod
    async def _finished(asking: Coroutine[None, None, str]) -> str:
        """See a request for tokens through, even when the run is stopped: its answer exists only once."""
        task = asyncio.ensure_future(asking)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait([task])
            raise

    def _is_good(self, stored: StoredTokens, refused: str | None) -> bool:
        """Fresh enough, or the best there is while somebody renews it."""
        pair, now = stored.pair, self._clock()
        if pair is None or pair.access_token == refused:
            return False
        return pair.expires_at > (now if stored.renewing_since else now + MARGIN)

    def _stop_if_lost(self, stored: StoredTokens | None) -> None:
        if stored and stored.renewing_since and self._clock() - stored.renewing_since > LOST_AFTER:
            raise Unauthorized(
                f"The answer to the renewal of Kommo's tokens at {stored.renewing_since:%Y-%m-%d %H:%M} UTC was lost, "
                f"and asking again could end the integration's access; {NEW_CODE}"
            )

    async def _exchange_code(self) -> str:
        asked = {"grant_type": "authorization_code", "code": self._integration.code.strip()}
        return await self._ask(asked, "KOMMO_AUTH_CODE", unsent_code=self._digest)

    async def _renew(self, pair: TokenPair) -> str:
        asked = {"grant_type": "refresh_token", "refresh_token": pair.refresh_token}
        try:
            return await self._ask(asked, "the refresh token")
        except (AnswerLost, Unreachable) as error:
            if pair.expires_at <= self._clock():
                raise
            log.warning("Kommo's tokens could not be renewed: %s. The present one serves until it ends", error)
            return pair.access_token

    async def _ask(self, asked: dict[str, str], what: str, *, unsent_code: str = "") -> str:
        """Send one request for tokens and store what comes. The right to ask is given back if none can have come."""
        who = self._integration
        body = {
            "client_id": who.client_id,
            "client_secret": who.client_secret,
            "redirect_uri": who.redirect_uri,
            **asked,
        }
        try:
            answer = await self._transport.write("POST", PATH, body, authorised=False)
        except (Rejected, Unauthorized) as error:
            self._vault.release()
            raise Unauthorized(f"Kommo refused {what}: {error}; {NEW_CODE}", status=error.status) from error
        except (Unreachable, Banned):
            self._vault.release(unsent_code)
            raise
        pair = self._pair(answer)
        self._vault.store(pair)
        return pair.access_token

    def _pair(self, answer: Any) -> TokenPair:
        given = parse(_Answer, answer, "Kommo's answer to a request for tokens")
        life = timedelta(seconds=min(max(given.expires_in, 0), LONGEST_LIFE_S))
        return TokenPair(given.access_token, given.refresh_token, self._clock() + life)
