"""Tokens: the long-lived one, and the OAuth pair with rotation. Source: Kommo reference, 1.2."""

import base64
import json
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from dealsync.simulator.assumptions import TOKEN_TAKES_FORMS, USED_REFRESH_TOKEN_STATUS
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
    switched_on: bool = True  # off: the integration was switched off by a person, every token is dead

    def __post_init__(self) -> None:
        self._codes[self.credentials.code] = self.clock.now() + CODE_S

    def state(self) -> Record:
        """Return everything as JSON."""
        return {
            "access": dict(self._access),
            "refresh": dict(self._refresh),
            "codes": dict(self._codes),
            "issued": self._issued,
            "switched_on": self.switched_on,
        }

    def load(self, state: Record, credentials: Credentials) -> None:
        """Replace everything by what `state` returned and the credentials of that account. Raises KeyError."""
        self.credentials = credentials
        self._access, self._refresh, self._codes = dict(state["access"]), dict(state["refresh"]), dict(state["codes"])
        self._issued, self.switched_on = state["issued"], state["switched_on"]

    def accepts(self, header: str | None) -> bool:
        """Tell whether an Authorization header carries a live token."""
        scheme, _, token = (header or "").partition(" ")
        if scheme.lower() != "bearer" or not self.switched_on:
            return False
        return token == self.credentials.token or self._access.get(token, 0.0) > self.clock.now()

    def knows_refresh(self, token: str | None) -> bool:
        """Tell whether a refresh token is alive, without using it."""
        return self.switched_on and self._refresh.get(token or "", 0.0) > self.clock.now()

    def new_code(self) -> str:
        """Return a fresh authorisation code, as the consent page gives: 20 minutes, one use."""
        self._issued += 1
        code = f"{self.credentials.code}-{self._issued}"
        self._codes[code] = self.clock.now() + CODE_S
        return code

    def switch(self, *, on: bool) -> None:
        """Switch the integration off or on; off kills the tokens it gave, the long-lived one comes back with on."""
        self.switched_on = on
        if not on:
            self._access.clear()
            self._refresh.clear()
            self._codes.clear()

    def grant(self, body: Record) -> Record | str:
        """Return a new pair for a code or refresh token, which is dead afterwards; or why not."""
        given = (body.get("client_id"), body.get("client_secret"), body.get("redirect_uri"))
        own = self.credentials
        if not self.switched_on:
            return "The integration is switched off"
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
        access = self._jwt(int(now))
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

    def _jwt(self, now: int) -> str:
        """Return an access token in the form of a JWT, which clients may read; its signature is none."""
        claims = {
            "aud": self.credentials.client_id,
            "jti": f"{self.credentials.token}-{self._issued}",
            "iat": now,
            "nbf": now,
            "exp": now + ACCESS_S,
        }
        parts = [json.dumps(part).encode() for part in ({"typ": "JWT", "alg": "RS256"}, claims)]
        return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (*parts, b"no signature"))


async def access_token(request: Request, tokens: Tokens) -> Response:
    """POST /oauth2/access_token: exchange a code, or a refresh token for a new pair."""
    try:
        body = await _read(request)
    except wire.Malformed as malformed:
        return malformed.response
    pair = tokens.grant(body)
    if isinstance(pair, str):
        return wire.plain(USED_REFRESH_TOKEN_STATUS, pair, hint="The token has been revoked or expired")
    return JSONResponse(pair)


async def _read(request: Request) -> Record:
    """Return the body: JSON, or a form as the OAuth standard has it. Raises Malformed."""
    if TOKEN_TAKES_FORMS and request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return dict(parse_qsl((await request.body()).decode("utf-8", "replace")))
    return await wire.read_object(request)


def current_subdomain(request: Request, tokens: Tokens, account: Record) -> Response:
    """GET /oauth2/account/current/subdomain: where the account is now, for a live refresh token (1.1)."""
    if not tokens.knows_refresh(request.headers.get("x-refresh-token")):
        return wire.plain(401, "Invalid user name or password")
    subdomain = account["subdomain"]
    body = {"id": account["id"], "subdomain": subdomain, "domain": f"{subdomain}.kommo.com", "top_level_domain": "com"}
    return JSONResponse(body)
