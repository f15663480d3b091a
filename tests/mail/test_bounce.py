"""E-mails that come back, as mail servers write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dealsync.mail.bounce import Bounce, read_bounce
from tests.mail.test_compose import KEY

ID = f"<{KEY.replace(':', '.')}@acme.com>"
POSTFIX = f"""\
From: MAILER-DAEMON@mx.acme.com (Mail Delivery System)
Subject: Undelivered Mail Returned to Sender
To: billing@acme.com
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="B"

--B
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

I'm sorry to have to inform you that your message could not be delivered.

--B
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.acme.com
X-Postfix-Queue-ID: 4F1

Final-Recipient: rfc822; ann@example.com
Action: failed
Status: 5.1.1
Remote-MTA: dns; mx.example.com
Diagnostic-Code: smtp; 550 5.1.1 <ann@example.com>: Recipient address rejected: User unknown

--B
Content-Description: Undelivered Message
Content-Type: message/rfc822

From: Acme <billing@acme.com>
To: Ann <ann@example.com>
Subject: Your checkout link
Message-ID: {ID}

Hello Ann
--B--
"""
HEADERS_ONLY = POSTFIX.replace("Content-Type: message/rfc822", "Content-Type: text/rfc822-headers")
REPLY = POSTFIX.split("--B\nContent-Description: Undelivered")[0].replace(
    "MIME-Version", f"In-Reply-To: {ID}\nMIME-Version"
)


@pytest.mark.parametrize("report", [POSTFIX, HEADERS_ONLY, f"{REPLY}--B--\n"], ids=["whole", "headers", "in-reply-to"])
def test_bounce__names_the_e_mail_and_the_words_without_the_address(report: str) -> None:
    words = "550 5.1.1 (address): Recipient address rejected: User unknown"
    assert read_bounce(report.encode()) == Bounce(KEY, words)


def test_bounce__without_a_diagnosis_tells_the_status() -> None:
    lines = [line for line in POSTFIX.splitlines() if not line.startswith("Diagnostic-Code")]
    assert read_bounce("\n".join(lines).encode()) == Bounce(KEY, "5.1.1")


@pytest.mark.parametrize("action", ["delayed", "delivered", "relayed"])
def test_bounce__that_is_no_failure_is_none(action: str) -> None:
    assert read_bounce(POSTFIX.replace("Action: failed", f"Action: {action}").encode()) is None


def test_bounce__of_another_e_mail_is_none() -> None:
    assert read_bounce(POSTFIX.replace(ID, "<something.else@acme.com>").encode()) is None
    assert read_bounce(f"Message-ID: {ID}\n\nHello".encode()) is None


@given(raw=st.binary(max_size=300), cut=st.integers(0, len(POSTFIX)), at=st.integers(0, len(POSTFIX)))
def test_bounce__whatever_the_bytes_nothing_is_raised(raw: bytes, cut: int, at: int) -> None:
    whole = POSTFIX.encode()
    for damaged in (raw, whole[:cut], whole[:at] + raw + whole[at:]):
        found = read_bounce(damaged)
        assert found is None or found.key.startswith("lead:")
