"""Letters as mail servers and people see them."""

from __future__ import annotations

from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dealsync.core.letters import fault_of_page, letter
from dealsync.core.models import Money
from dealsync.core.plan import Letter
from dealsync.core.texts import Texts
from dealsync.mail.compose import compose, key_in

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
KEY = "lead:31:checkout:a1b2c3d4e5f6-2:email"
URL = "https://acme.lemonsqueezy.com/checkout/custom/17?expires=1&signature=5"
VALUES = {"url": URL, "price": Money(49000, "USD"), "expires": NOW, "name": "Ann <b> & Co", "company": "Acme"}


def written(**changes: str) -> Letter:
    return letter("mail_link", Texts(), "ann@example.com", "Ann", {**VALUES, **changes})


def sent(one: Letter, sender: str = "Acme Billing <billing@acme.com>", reply_to: str = "") -> EmailMessage:
    """The message as it is read at the other end."""
    raw = compose(one, key=KEY, sender=sender, reply_to=reply_to, now=NOW).as_bytes()
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


NASTY = st.text(alphabet=st.sampled_from('a\r\n:,;<>"@ é漢\x00Bc')) | st.text(max_size=40)


@given(name=NASTY, company=NASTY)
def test_compose__whatever_names_hold_adds_no_header_and_loses_no_link(name: str, company: str) -> None:
    one = letter("mail_link", Texts(), "ann@example.com", name, {**VALUES, "name": name, "company": company})
    message = sent(one)
    assert set(message.keys()) == {
        "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type",
    }  # fmt: skip
    assert [address.addr_spec for address in message["To"].addresses] == ["ann@example.com"]
    assert URL in part(message, "plain")


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
