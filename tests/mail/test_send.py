"""What a mail server says, and what follows from it: against a real one on loopback."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from email import message_from_bytes
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from dealsync.errors import MailLost, MailNotSent, MailPutOff, MailRefused
from dealsync.mail.compose import Mail, compose
from dealsync.mail.send import Postman, blotted
from tests.mail.server import Server, running
from tests.mail.test_compose import HEADERS, KEY, NOW, written

CLOSED_PORT = 9
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")


def mail(to: str = "ann@example.com", *, name: str = "Ann", subject: str = "Your link") -> Mail:
    one = replace(written(), to=to, to_name=name, subject=subject)
    return compose(one, key=KEY, sender="Acme <billing@acme.com>", reply_to="", now=NOW)


def send(postman: Postman, *receivers: str) -> None:
    async def work() -> None:
        async with postman.at_the_counter() as counter:
            for receiver in receivers or ("ann@example.com",):
                await counter.open()
                await counter.send(mail(receiver))

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
        ({"RCPT": "451 4.7.1 greylisted"}, MailPutOff, "451"),
        ({"DATA": "554 5.7.1 spam"}, MailRefused, "554"),
        ({"DATA": "452 4.3.1 full"}, MailPutOff, "452"),
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
            with pytest.raises(MailRefused):
                await counter.send(mail())
            server.answers.clear()
            await counter.open()
            await counter.send(mail())

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
    with running(Server(knows_ascii_only=True)) as postman, pytest.raises(MailRefused, match="ASCII"):
        send(postman, "änn@example.com")


@pytest.mark.parametrize("address", ["änn@example.com", "jörg@müller.de"])
def test_send__an_address_beyond_ascii_is_written_where_the_server_can(address: str) -> None:
    server = Server()
    with running(server) as postman:
        send(postman, address, "bob@example.com")
    assert [envelope.rcpt_tos for envelope in server.taken] == [[address], ["bob@example.com"]]
    content = server.taken[0].content
    assert isinstance(content, bytes)
    assert f"<{address}>".encode() in content


@pytest.mark.parametrize(
    "code", ["q?Ann=0d=0aBcc:=20eve@evil.example", "q?Ann=0d=0a=0d=0aPay_eve", "b?DQpCY2M6IGVAeC55"]
)
def test_send__encoded_words_in_a_name_arrive_as_the_text_they_are(code: str) -> None:
    server, name = Server(), f"=?utf-8?{code}?="
    with running(server) as postman:

        async def work() -> None:
            async with postman.at_the_counter() as counter:
                await counter.open()
                await counter.send(mail(name=name, subject=f"Your link, {name}"))

        asyncio.run(work())
    (envelope,) = server.taken
    read = message_from_bytes(bytes(envelope.content or b""))  # type: ignore[arg-type]
    assert envelope.rcpt_tos == ["ann@example.com"]
    assert read.keys() == HEADERS
    assert (read["To"], read["Subject"]) == (
        f'"{name.replace("=?", "= ?")}" <ann@example.com>',
        f"Your link, {name.replace('=?', '= ?')}",
    )


def test_send__a_server_that_closes_is_not_the_letters_fault() -> None:
    for answers in ({"RCPT": "421 4.3.2 shutting down"}, {"DATA": "421 4.3.2 shutting down"}):
        with running(Server(answers)) as postman, pytest.raises(MailNotSent) as raised:
            send(postman)
        assert not isinstance(raised.value, MailPutOff)


def test_send__a_connection_that_the_server_had_enough_of_is_opened_again() -> None:
    server = Server()

    async def work(postman: Postman) -> None:
        async with postman.at_the_counter() as counter:
            await counter.open()
            await counter.send(mail())
            counter._smtp.close()
            await counter.open()
            await counter.send(mail("bob@example.com"))

    with running(server) as postman:
        asyncio.run(work(postman))
    assert [envelope.rcpt_tos for envelope in server.taken] == [["ann@example.com"], ["bob@example.com"]]


def test_send__a_name_of_no_server_is_a_server_that_is_away() -> None:
    with pytest.raises(MailNotSent):
        send(Postman("mail..example", 25, security="none", timeout_s=5))


def test_send__no_tls_where_tls_is_asked_for_sends_nothing() -> None:
    server = Server()
    with running(server) as postman, pytest.raises(MailNotSent):
        send(Postman(postman.host, postman.port, security="starttls", timeout_s=5))
    assert server.taken == []


def test_words__lose_every_address() -> None:
    assert blotted("550 <ann@example.com>: no,\n bob@x.org neither") == "550 (address): no, (address) neither"
