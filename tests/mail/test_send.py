"""What a mail server says, and what follows from it: against a real one on loopback."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from dealsync.errors import MailLost, MailNotSent, MailRefused
from dealsync.mail.compose import compose
from dealsync.mail.send import Postman, blotted
from tests.mail.server import Server, running
from tests.mail.test_compose import KEY, NOW, written

CLOSED_PORT = 9
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")


def send(postman: Postman, *receivers: str) -> None:
    async def work() -> None:
        async with postman.at_the_counter() as counter:
            for receiver in receivers or ("ann@example.com",):
                message = compose(written(), key=KEY, sender="Acme <billing@acme.com>", reply_to="", now=NOW)
                message.replace_header("To", receiver)
                await counter.send(message)

    asyncio.run(work())


def test_send__many_go_over_one_connection() -> None:
    server = Server()
    with running(server) as postman:
        send(postman, "ann@example.com", "bob@example.com")
    assert [envelope.rcpt_tos for envelope in server.taken] == [["ann@example.com"], ["bob@example.com"]]
    assert server.taken[0].mail_from == "billing@acme.com"
    content = server.taken[0].content
    assert isinstance(content, bytes)
    assert b"multipart/alternative" in content


@pytest.mark.parametrize(
    ("answers", "error", "words"),
    [
        ({"RCPT": "550 5.1.1 <ann@example.com> is nobody"}, MailRefused, r"550 5\.1\.1 \(address\) is nobody"),
        ({"RCPT": "451 4.7.1 greylisted"}, MailNotSent, "451"),
        ({"DATA": "554 5.7.1 spam"}, MailRefused, "554"),
        ({"DATA": "452 4.3.1 full"}, MailNotSent, "452"),
    ],
)
def test_send__a_refusal_for_good_is_told_from_one_for_now(
    answers: dict[str, str], error: type[Exception], words: str
) -> None:
    with running(Server(answers)) as postman, pytest.raises(error, match=words) as raised:
        send(postman)
    assert "ann@" not in str(raised.value)


def test_send__a_refused_one_does_not_stop_the_next() -> None:
    server = Server({"RCPT": "550 nobody"})

    async def work(postman: Postman) -> None:
        async with postman.at_the_counter() as counter:
            message = compose(written(), key=KEY, sender="billing@acme.com", reply_to="", now=NOW)
            with pytest.raises(MailRefused):
                await counter.send(message)
            server.answers.clear()
            await counter.send(message)

    with running(server) as postman:
        asyncio.run(work(postman))
    assert len(server.taken) == 1


def test_send__a_connection_that_breaks_after_the_message_is_no_proof_of_anything() -> None:
    with running(Server(hangs_up=True)) as postman, pytest.raises(MailLost):
        send(postman)


def test_send__without_a_server_nothing_was_sent() -> None:
    with pytest.raises(MailNotSent, match=f"127.0.0.1:{CLOSED_PORT}"):
        send(Postman("127.0.0.1", CLOSED_PORT, security="none", timeout_s=5))


def test_send__logs_in_and_tells_no_password_when_it_may_not() -> None:
    def check(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        return AuthResult(success=data.password == b"right")

    server = Server()
    with running(server, authenticator=check, auth_required=True, auth_require_tls=False) as postman:
        known = Postman(postman.host, postman.port, "acme", "right", "none", 5)
        stranger = Postman(postman.host, postman.port, "acme", "wrong-password", "none", 5)
        send(known)
        with pytest.raises(MailNotSent) as raised:
            send(stranger)
    assert len(server.taken) == 1
    assert "wrong-password" not in str(raised.value) + repr(stranger)


def test_send__an_address_that_the_server_cannot_write_is_refused() -> None:
    with running(Server(), enable_SMTPUTF8=False) as postman, pytest.raises(MailRefused, match="ASCII"):
        send(postman, "änn@example.com")


def test_send__no_tls_where_tls_is_asked_for_sends_nothing() -> None:
    server = Server()
    with running(server) as postman, pytest.raises(MailNotSent):
        send(Postman(postman.host, postman.port, security="starttls", timeout_s=5))
    assert server.taken == []


def test_words__lose_every_address() -> None:
    assert blotted("550 <ann@example.com>: no,\n bob@x.org neither") == "550 (address): no, (address) neither"
