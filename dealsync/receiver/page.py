"""The page that a buyer sees after paying: small, without script, in the company's name and colours."""

from __future__ import annotations

import base64
import hashlib

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from dealsync.config import ClaimSection

HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}
_environment = Environment(
    loader=PackageLoader("dealsync.receiver"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)


class Page:
    """Renders the two pages there are."""

    def __init__(self, look: ClaimSection, language: str) -> None:
        self._look = look
        self._language = language
        self._style = _environment.get_template("claim.css").render(look=look)
        digest = base64.b64encode(hashlib.sha256(self._style.encode()).digest()).decode()
        # Only this one style may act: whatever found its way into the page could neither run nor load anything.
        policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
        self._headers = HEADERS | {"Content-Security-Policy": f"{policy}; frame-ancestors 'none'"}

    def thanks(self, *, status_code: int = 200) -> Response:
        """Return the page for a buyer whose link is whole."""
        return self._page(self._look.title, self._look.text, status_code)

    def incomplete(self) -> Response:
        """Return the page for a link that was forged, cut off, or opened before anything was bought."""
        return self._page(self._look.incomplete_title, self._look.incomplete_text, 400)

    def _page(self, title: str, text: str, status_code: int) -> Response:
        html = _environment.get_template("claim.html").render(
            look=self._look, language=self._language, style=self._style, title=title, paragraphs=text.split("\n")
        )
        return HTMLResponse(html, status_code=status_code, headers=self._headers)
