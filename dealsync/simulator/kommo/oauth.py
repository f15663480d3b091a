"""Tokens: the long-lived one, and the OAuth pair with rotation. Source: Kommo reference, 1.2."""

from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from dealsync.simulator.assumptions import USED_REFRESH_TOKEN_STATUS
from dealsync.simulator.clock import Clock
from dealsync.simulator.kommo import wire
from dealsync.simulator.table import Record

ACCESS_S = 24 * 3600
REFRESH_S = 90 * 24 * 3600
CODE_S = 20 * 60


@dataclass(frozen=True)
class Credentials:
    """What the private integration was given; all made up from the seed and obviously fake."""

    token: str
    client_id: str
    client_secret: str
    redirect_uri: str
    code: str


@dataclass
class Tokens:
    """Which tokens are alive, by simulated time."""

    clock: Clock
    credentials: Credentials
    _access: dict[str, float] = field(default_factory=dict)  # token -> end of life, Unix seconds
    _refresh: dict[str, float] = field(default_factory=dict)
    _codes: dict[str, float] = field(default_factory=dict)
    _issued: int = 0

    def __post_init__(self) -> None:
        self._codes[self.credentials.code] = self.clock.now() + CODE_S

    def accepts(self, header: str | None) -> bool:
        """Tell whether an Authorization header carries a live token."""
        scheme, _, token = (header or "").partition(" ")
        if scheme.lower() != "bearer":
            return False
        return token == self.credentials.token or self._access.get(token, 0.0) > self.clock.now()

    def grant(self, body: Record) -> Record | str:
        """Return a new pair for a code or refresh token, which is dead afterwards; or why not."""
        given = (body.get("client_id"), body.get("client_secret"), body.get("redirect_uri"))
        own = self.credentials
        if given != (own.client_id, own.client_secret, own.redirect_uri):
            return "Check the client id, the client secret and the redirect URI"
        kinds = {"authorization_code": (self._codes, "code"), "refresh_token": (self._refresh, "refresh_token")}
        alive, name = kinds.get(str(body.get("grant_type")), ({}, "grant_type"))
        if alive.pop(str(body.get(name)), 0.0) <= self.clock.now():
            return f"The {name.replace('_', ' ')} is unknown, used or expired"
        return self._pair()

    def _pair(self) -> Record:
        self._issued += 1
        now = self.clock.now()
        access = f"{self.credentials.token}-access-{self._issued}"
        refresh = f"{self.credentials.token}-refresh-{self._issued}"
        self._access[access] = now + ACCESS_S
        self._refresh[refresh] = now + REFRESH_S
        return {
            "token_type": "Bearer",
            "expires_in": ACCESS_S,
            "server_time": int(now),
            "access_token": access,
            "refresh_token": refresh,
        }


async def access_token(request: Request, tokens: Tokens) -> Response:
    """POST /oauth2/access_token: exchange a code, or a refresh token for a new pair."""
    try:
        body = await wire.read_object(request)
    except wire.Malformed as malformed:
        return malformed.response
    pair = tokens.grant(body)
    if isinstance(pair, str):
        return wire.plain(USED_REFRESH_TOKEN_STATUS, pair, hint="The token has been revoked or expired")
    return JSONResponse(pair)
