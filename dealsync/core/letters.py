"""E-mails to clients: a subject, a text and the same as HTML, from the words of the language and one page for all."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from email_validator import EmailNotValidError, validate_email
from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from dealsync.core.plan import Letter
from dealsync.core.texts import NAME_LIMIT, Texts

_SHOWN_AS = {"Cc": " ", "Zl": " ", "Zp": " ", "Cf": "", "Cs": "\N{REPLACEMENT CHARACTER}"}
"""Unicode categories of what is no part of a name: line breaks and controls, what is not seen, half characters."""


def letter(template: str, texts: Texts, to: str, to_name: str, values: Mapping[str, Any], html: str = "") -> Letter:
    """Return an e-mail from the words `<template>_subject` and `<template>_text`; `html`: a page of the account's own.

    The page is given the paragraphs of the text (`blocks`), of which one is the link (`url`), `button` and `language`.
    """
    # A name of many lines would be read as paragraphs of ours.
    values = {
        name: one_line(value) if isinstance(value, str) and name != "url" else value for name, value in values.items()
    }
    text = texts.plain(f"{template}_text", values, is_for_kommo=False).strip()
    page = {
        "blocks": [block.strip() for block in text.split("\n\n") if block.strip()],
        "url": values["url"],
        "button": texts.plain("mail_button", values, is_for_kommo=False),
        "language": texts.language,
    }
    return Letter(
        to=address_for_wire(to) or to,
        to_name=one_line(to_name),
        subject=one_line(texts.plain(f"{template}_subject", values, is_for_kommo=False)),
        text=f"{text}\n",
        html=_page(html).render(page),
    )


def fault_of_page(html: str) -> str | None:
    """Return why a page of the account's own cannot be used; None if it can."""
    try:
        for blocks in (["Hello", "https://acme.example"], ["https://acme.example"]):  # a text may be one paragraph
            _page(html).render(blocks=blocks, url="https://acme.example", button="", language="")
    except (TemplateError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        return f"cannot be used: {error}"
    return None


def one_line(text: str) -> str:
    """Return a text that means in a header what it says: it begins no other line, and nothing in it is decoded.

    What looks like an encoded word (RFC 2047) would be read as what it encodes, a line break for instance.
    """
    plain = "".join(_SHOWN_AS.get(unicodedata.category(character), character) for character in text)
    line = " ".join(plain.split()).replace("=?", "= ?")
    return line if len(line) <= NAME_LIMIT else f"{line[: NAME_LIMIT - 1]}…"


def address_for_wire(address: str) -> str | None:
    """Return an address as mail servers take it, in ASCII where there is such a form; None if no e-mail reaches it."""
    try:
        # .test is let through: nobody mistypes it, and trials use it.
        valid = validate_email(address, check_deliverability=False, test_environment=True)
    except (EmailNotValidError, UnicodeError):
        return None
    return valid.ascii_email or valid.normalized


@cache
def _page(html: str) -> Template:
    source = html or (files(__package__) / "words" / "mail.html").read_text(encoding="utf-8")
    return SandboxedEnvironment(undefined=StrictUndefined, autoescape=True).from_string(source)
