"""Cassettes: where they are, what is left out of them, and the search for what must never be in one."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import yaml
from vcr import VCR  # type: ignore[import-untyped]
from vcr.request import Request  # type: ignore[import-untyped]
from vcr.serializers import yamlserializer  # type: ignore[import-untyped]

from tests.contract.scrub import Scrubber

FOLDER = Path(__file__).parents[1] / "cassettes"
REPLAY_ORIGIN = "http://simulator.invalid"
KEPT_ANSWER_HEADERS = ("content-type", "retry-after")
LEFT_OUT_REQUEST_HEADERS = ["authorization", "user-agent", "host", "connection", "accept-encoding", "content-length"]
RESERVED_DOMAINS = ("example", "example.com", "test", "invalid")
SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|CODE|PASSWORD")
EMAIL = re.compile(r"[\w.+-]+@([\w-]+(?:\.[\w-]+)*)")


class _WithOrigin:
    """YAML whose first line says where the exchange comes from."""

    def __init__(self, origin: str) -> None:
        self._first_line = f"# origin: {origin}\n"

    def serialize(self, cassette: dict[str, Any]) -> str:
        return self._first_line + cast("str", yamlserializer.serialize(cassette))

    def deserialize(self, text: str) -> Any:
        return yamlserializer.deserialize(text)


def recorder(
    live_url: str | None, origin: str, *, moved_to: str = REPLAY_ORIGIN, scrubber: Scrubber | None = None
) -> VCR:
    """A VCR that replays, and records from `live_url` if there is one, as if it had been at `moved_to`.

    What a live account answers goes through the scrubber before it is kept.
    """

    def request(sent: Request) -> Request:
        sent.uri = sent.uri.replace(live_url, moved_to) if live_url else sent.uri
        sent.uri = scrubber.uri(sent.uri) if scrubber else sent.uri
        return sent

    def response(answer: dict[str, Any]) -> dict[str, Any]:
        kept = {name.lower(): values for name, values in answer["headers"].items()}
        headers = {name: values for name, values in kept.items() if name in KEPT_ANSWER_HEADERS}
        body = answer["body"]["string"]
        body = _moved(body, live_url, moved_to) if live_url else body
        return {**answer, "headers": headers, "body": {"string": scrubber.body(body) if scrubber else body}}

    vcr = VCR(
        serializer="with-origin",
        record_mode="all" if live_url else "none",
        match_on=("method", "uri", "body"),
        filter_headers=LEFT_OUT_REQUEST_HEADERS,
        before_record_request=request,
        before_record_response=response,
    )
    vcr.register_serializer("with-origin", _WithOrigin(origin))
    return vcr


def _moved(body: bytes, live_url: str, moved_to: str) -> bytes:
    """Answers name their own address in links; Lemon Squeezy escapes its slashes."""
    for old, new in ((live_url, moved_to), (_escaped(live_url), _escaped(moved_to))):
        body = body.replace(old.encode(), new.encode())
    return body


def _escaped(url: str) -> str:
    return url.replace("/", "\\/")


def unscrubbed(text: str) -> list[str]:
    """The addresses and bodies of a live account's cassette that another scrubbing would change: somebody's data."""
    scrubber = Scrubber(REPLAY_ORIGIN)
    found = []
    for exchange in (yaml.safe_load(text) or {}).get("interactions", []):
        uri, body = exchange["request"]["uri"], exchange["response"]["body"]["string"]
        raw = body.encode() if isinstance(body, str) else body
        found += [] if scrubber.uri(uri) == uri else ["an address in a request"]
        found += [] if _same(scrubber.body(raw), raw) else ["a text in an answer"]
    return found


def _same(scrubbed: bytes, raw: bytes) -> bool:
    try:
        return bool(json.loads(scrubbed) == json.loads(raw))
    except ValueError:
        return scrubbed == raw


def secrets_of(environment: dict[str, str]) -> list[str]:
    """The values of an environment that nobody may see."""
    return [value for name, value in environment.items() if SECRET_NAME.search(name)]


def leaks(text: str, secrets: Iterable[str]) -> list[str]:
    """Say what a cassette shows that it must not: secrets, authorisation, addresses of real people, the live host."""
    found = [f"the secret {secret!r}" for secret in secrets if secret in text]
    found += ["a bearer token"] if re.search(r"bearer\s", text, re.IGNORECASE) else []
    found += ["an Authorization header"] if "authorization" in _header_names(text) else []
    found += [f"an e-mail at {domain}" for domain in EMAIL.findall(text) if not _is_reserved(domain)]
    found += ["an address of the recording machine"] if re.search(r"127\.0\.0\.1|localhost", text) else []
    return found


def _header_names(text: str) -> set[str]:
    exchanges = (yaml.safe_load(text) or {}).get("interactions", [])
    return {
        name.lower()
        for exchange in exchanges
        for side in ("request", "response")
        for name in exchange[side].get("headers", {})
    }


def _is_reserved(domain: str) -> bool:
    return any(domain == reserved or domain.endswith(f".{reserved}") for reserved in RESERVED_DOMAINS)
