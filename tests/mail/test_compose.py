"""Letters as mail servers and people see them."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.policy import default
from email.utils import parseaddr
from unicodedata import category

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dealsync.core.letters import fault_of_page, letter, one_line
from dealsync.core.models import Money
from dealsync.core.plan import Letter
from dealsync.core.texts import Texts
from dealsync.errors import MailRefused
from dealsync.mail import compose as composing
from dealsync.mail.compose import compose, key_in

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
KEY = "lead:31:checkout:a1b2c3d4e5f6-2:email"
URL = "https://acme.lemonsqueezy.com/checkout/custom/17?expires=1&signature=5"
VALUES = {"url": URL, "price": Money(49000, "USD"), "expires": NOW, "name": "Ann <b> & Co", "company": "Acme"}


def written(**changes: str) -> Letter:
    return letter("mail_link", Texts(), "ann@example.com", "Ann", {**VALUES, **changes})


def sent(one: Letter, sender: str = "Acme Billing <billing@acme.com>", reply_to: str = "") -> EmailMessage:
    """The message as it is read at the other end."""
    raw = compose(one, key=KEY, sender=sender, reply_to=reply_to, now=NOW).content
    message = message_from_bytes(raw, policy=default)
    assert isinstance(message, EmailMessage)
    return message


def part(message: EmailMessage, kind: str) -> str:
    body = message.get_body(preferencelist=(kind,))
    assert body is not None
    return str(body.get_content())


def test_compose__is_a_text_and_the_same_as_html() -> None:
    message = sent(written())
    assert message.get_content_type() == "multipart/alternative"
    assert [one.get_content_type() for one in message.iter_parts()] == ["text/plain", "text/html"]
    text, html = part(message, "plain"), part(message, "html")
    assert URL in text.splitlines()
    assert "your checkout for $490.00 is ready, and open until Jun 1, 2026" in text
    assert f'href="{URL.replace("&", "&amp;")}"' in html
    assert "Ann &lt;b&gt; &amp; Co" in html
    assert "<b>" not in html
    assert 'lang="en"' in html


def test_compose__says_from_whom_for_whom_and_that_nobody_typed_it() -> None:
    message = sent(written(), reply_to="Sales <sales@acme.com>")
    assert (message["From"], message["To"]) == ("Acme Billing <billing@acme.com>", "Ann <ann@example.com>")
    assert (message["Reply-To"], message["Auto-Submitted"]) == ("Sales <sales@acme.com>", "auto-generated")
    assert message["Subject"] == "Your checkout link from Acme"
    assert message["Date"] == "Mon, 01 Jun 2026 12:00:00 +0000"
    assert key_in(message["Message-ID"]) == KEY
    assert message["Message-ID"].endswith("@acme.com>")


def test_letter__speaks_the_language_of_the_account() -> None:
    german = letter("mail_reminder", Texts("de", "de_DE"), "ann@example.com", "", VALUES)
    assert german.subject == "Zur Erinnerung: Ihr Checkout bei Acme"
    assert "490,00" in german.text
    assert "Jetzt bezahlen" in german.html


def test_letter__leaves_out_what_is_not_known() -> None:
    bare = written(name="", company="", price="", expires="")
    assert bare.text.startswith("Hello,\n\nyour checkout is ready. You can pay here:")
    assert bare.text.rstrip().endswith(URL)
    assert bare.subject == "Your checkout link"


HEADERS = ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"]
SMUGGLED = [
    "\r\nBcc: eve@evil.example",
    "\r\n\r\nPay eve instead",
    "\nTo: eve@evil.example\n\n",
    "\r",
    "\n",
    "\x00",
    '"',
    ">,",
]
ENCODED = [f"=?{charset}?{how}?{code}?=" for charset in ("utf-8", "iso-8859-1", "us-ascii") for text in SMUGGLED
           for how, code in (("q", "".join(f"={byte:02x}" for byte in text.encode())),
                             ("B", b64encode(text.encode()).decode()))]  # fmt: skip
PIECES = [
    *ENCODED,
    *SMUGGLED,
    "=?",
    "?=",
    "=\u200b?",
    "==??",
    "=?utf-8?q?",
    "Ann",
    " ",
    "Jörg, Dr.",
    "漢字",
    "\u2028",
    "\x85",
    "\udc80",
    "\\",
]
NASTY = st.lists(st.sampled_from(PIECES) | st.characters(), max_size=12).map("".join) | st.text(max_size=40)


@given(name=NASTY, company=NASTY)
@example(name="=?utf-8?q?Ann=0d=0aBcc:=20eve@evil.example?=", company="=?utf-8?b?DQpCY2M6IGV2ZUBldmlsLmV4YW1wbGU=?=")
@example(name="=?utf-8?q?Ann=0d=0a=0d=0aPay_eve_instead?=", company="")
@example(name="=\u200b?utf-8?q?Ann=0d=0aBcc:=20eve@evil.example?=", company="Acme\u2028Bcc: eve@evil.example")
def test_compose__whatever_names_hold_adds_no_header_and_loses_no_link(name: str, company: str) -> None:
    values = {**VALUES, "name": name, "company": company}
    one = letter("mail_link", Texts(), "ann@example.com", name, values)
    # As it is planned; and as a ledger may hold it that an older version wrote.
    for meant in (one, replace(one, to_name=name, subject=f"Your link from {company}")):
        message = sent(meant)
        assert message.keys() == HEADERS
        assert [address.addr_spec for address in message["To"].addresses] == ["ann@example.com"]
        assert URL in part(message, "plain")
        assert "Pay eve" not in (message.preamble or "")


@given(name=NASTY, subject=NASTY)
def test_compose__says_names_and_subjects_to_the_letter(name: str, subject: str) -> None:
    raw = compose(replace(written(), to_name=name, subject=subject), key=KEY, sender="b@acme.com", reply_to="", now=NOW)
    read = message_from_bytes(raw.content)
    shown, address = parseaddr("".join(read["To"].splitlines()))
    assert (str(make_header(decode_header(shown))), address) == (one_line(name), "ann@example.com")
    assert str(make_header(decode_header("".join(read["Subject"].splitlines())))) == one_line(subject)
    assert max(map(len, raw.content.split(b"\r\n"))) <= 998


@given(name=NASTY)
def test_line__is_plain_text_and_stays_as_it_is(name: str) -> None:
    line = one_line(name)
    assert "=?" not in line
    assert {category(character) for character in line}.isdisjoint({"Cc", "Cf", "Cs", "Zl", "Zp"})
    assert one_line(line) == line
    assert len(line) <= 200


@pytest.mark.parametrize(
    "name", ["Ann Example", "Müller, Jörg", "O'Neill-Ünlü", "李小龍", 'Dr. A. "Ann" B.', "Ann & Co?"]
)
def test_line__leaves_names_as_people_have_them(name: str) -> None:
    assert one_line(name) == name
    assert sent(replace(written(), to_name=name))["To"].addresses[0].display_name == name


def test_letter__a_name_makes_no_paragraphs() -> None:
    one = written(name="Ann\n\nYour link has changed, pay here: https://evil.example\n\n")
    assert "\n\nYour link has changed" not in one.text
    assert one.text.startswith("Hello Ann Your link")
    assert one.text.count("\n\n") == written().text.count("\n\n")


def test_compose__reads_the_finished_message_again_and_refuses_one_that_says_something_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hole = replace(written(), subject="Hello\r\nBcc: eve@evil.example")
    monkeypatch.setattr(composing, "one_line", str)
    with pytest.raises(MailRefused, match="as it is meant"):
        sent(hole)
    with pytest.raises(MailRefused, match="as it is meant"):
        sent(replace(written(), to_name="Ann\r\n\r\nPay eve instead"))
    with pytest.raises(MailRefused, match="as it is meant"):
        sent(replace(written(), subject="=?utf-8?q?Ann?="))


NO_ADDRESSES = ("", "ann", "ann@", "ann@x@example.com", "a b@example.com", "ann@example.com>", "(erased)", "ann@-.de")


@pytest.mark.parametrize("address", [*NO_ADDRESSES, "ann@example.com\r\nBcc: x@y.de"])
def test_compose__an_address_that_is_none_is_refused_without_naming_it(address: str) -> None:
    with pytest.raises(MailRefused) as raised:
        sent(replace(written(), to=address))
    assert address not in str(raised.value) or not address


@pytest.mark.parametrize(
    ("to", "wire"),
    [
        ("jörg@example.com", "jörg@example.com"),
        ("jörg@müller.de", "jörg@müller.de"),
        ("ann@müller.de", "ann@xn--mller-kva.de"),
    ],
)
def test_compose__addresses_are_written_in_ascii_where_they_can_be(to: str, wire: str) -> None:
    mail = compose(replace(written(), to=to), key=KEY, sender="Büro <büro@acme.com>", reply_to="", now=NOW)
    assert (mail.to, mail.is_ascii) == (wire, wire.isascii())
    assert f"<{wire}>" in mail.content.decode()


def test_compose__a_sender_with_a_domain_of_its_own_letters_is_written_in_ascii() -> None:
    message = sent(written(), "Müller <billing@müller.de>", "sales@müller.de")
    assert message["From"].addresses[0].display_name == "Müller"
    assert message["From"].addresses[0].addr_spec == "billing@xn--mller-kva.de"
    assert message["Reply-To"] == "sales@xn--mller-kva.de"
    assert key_in(message["Message-ID"]) == KEY
    assert message["Message-ID"].endswith("@xn--mller-kva.de>")


def test_letter__goes_to_a_domain_in_the_form_of_the_wire() -> None:
    assert letter("mail_link", Texts(), "ann@exämple.de", "", VALUES).to == "ann@xn--exmple-cua.de"


def test_page__of_the_accounts_own_is_used_or_refused_with_its_fault() -> None:
    own = letter(
        "mail_link", Texts(), "a@example.com", "", VALUES, "<p>{{ button }}: {{ url }} {{ blocks|length }}</p>"
    )
    assert own.html == f"<p>Pay now: {URL.replace('&', '&amp;')} 4</p>"
    assert fault_of_page("<p>{{ url }}</p>") is None
    for wrong in ("{{ nothing }}", "{% if %}", "{{ ''.__class__.__mro__ }}"):
        assert "cannot be used" in (fault_of_page(wrong) or "")


@pytest.mark.parametrize("text", ["", "<x@y>", "<lead.31.checkout.a1b2c3d4.email>", "<order.31.checkout.a1b2.email@x>"])
def test_key__is_read_from_our_own_ids_only(text: str) -> None:
    assert key_in(text) is None
