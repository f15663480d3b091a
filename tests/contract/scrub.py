"""What a live account answers, without anything that is secret or somebody's: all texts but known harmless ones are
replaced by numbered ones, the same text by the same.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote, urlsplit

KEPT_KEYS = {
    "type", "status", "version", "currency", "billing_reason", "category", "scheme", "duration", "amount_type",
    "discount_amount_type", "sort", "events", "usage_aggregation", "renewal_interval_unit", "trial_interval_unit",
    "license_length_unit", "tax_code", "mode", "title", "detail", "entity_type", "field_type", "field_code",
    "language", "pointer",
}  # fmt: skip
"""Keys whose texts are words of the API, not of people."""
NUMBER_KEYS = re.compile(r"(^|_)(id|rate|decimal)$|^status$")
"""Keys whose texts may be numbers. Elsewhere a text of digits may be a telephone."""
HARMLESS = re.compile(r"text [0-9]+|person[0-9]+@example\.com|https://example\.com/link/[0-9]+|")
TIME = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d))?")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
ADDRESS = re.compile(r"[^\s@<>(),;:\"']+@[^\s@<>(),;:\"']+")
QUOTED_ADDRESS = re.compile(r"[^=&?/]+%40[^=&?/]+")
PATHS_KEPT_AT = "app.lemonsqueezy.com"
"""Links there name an order; what lets a stranger in stands behind the question mark."""


@dataclass(slots=True)
class Scrubber:
    """Scrubs one recording. `own` is how the links of the API itself begin, in a recording."""

    own: str
    _texts: dict[str, str] = field(default_factory=dict)

    def uri(self, uri: str) -> str:
        """A request's address: e-mails in filters are replaced as they are in answers."""
        return QUOTED_ADDRESS.sub(lambda found: quote(self._replaced(unquote(found[0])), safe=""), uri)

    def body(self, body: bytes) -> bytes:
        """An answer's body; one that is no JSON is dropped, for nobody knows what it says."""
        if not body:
            return body
        try:
            whole = json.loads(body)
        except ValueError:
            return b"<html></html>" if b"<" in body else b"not JSON"
        return json.dumps(self.value(whole), separators=(",", ":")).encode()

    def value(self, value: Any, key: str = "") -> Any:
        """A JSON value that stands under a key."""
        if isinstance(value, dict):
            return {name: self.value(part, name) for name, part in value.items()}
        if isinstance(value, list):
            return [self.value(part, key) for part in value]
        return self._text(value, key) if isinstance(value, str) else value

    def _text(self, text: str, key: str) -> str:
        if key in KEPT_KEYS:
            return ADDRESS.sub(lambda found: self._replaced(found[0]), text)
        if any(form.fullmatch(text) for form in (HARMLESS, TIME, UUID)):
            return text
        if text.startswith(f"{self.own}/"):
            return self.uri(text)
        if NUMBER_KEYS.search(key) and NUMBER.fullmatch(text):
            return text
        link = urlsplit(text) if text.startswith("https://") else None
        if link and link.hostname == PATHS_KEPT_AT:
            return f"https://{PATHS_KEPT_AT}{link.path}"
        return self._replaced(text)

    def _replaced(self, text: str) -> str:
        if HARMLESS.fullmatch(text):
            return text
        if text not in self._texts:
            number = len(self._texts) + 1
            form = "person{}@example.com" if ADDRESS.fullmatch(text) else "text {}"
            form = "https://example.com/link/{}" if re.match("https?://", text) else form
            self._texts[text] = form.format(number)
        return self._texts[text]
