"""E-mail: what a mail program gets, and what the server's answers mean."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from schemas.configuration import EmailChannel
from sinks.notifier.channels import Refused, Retry
from sinks.notifier.channels.email import Email
from tests.sinks.notifier.receivers import Mailbox, mailbox
from tests.sinks.notifier.test_webhook import message


@pytest_asyncio.fixture
async def box() -> AsyncIterator[Mailbox]:
    async with mailbox() as made:
        yield made


def email(box: Mailbox, timeout_seconds: float = 2) -> Email:
    settings = EmailChannel(
        host="127.0.0.1",
        port=box.port,
        sender="Tocsin <tocsin@ops.example.org>",
        security="none",
    )
    return Email(settings, None, lambda: 1_764_000_000_000, timeout_seconds)


async def test_plain_text_and_html_say_the_same(box: Mailbox) -> None:
    await email(box).send(message(address="ada@example.org"))
    mail = box.mails[0]
    plain = mail.get_body(("plain",))
    html = mail.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert "Where: cart" in plain.get_content()
    assert "<strong>Where:</strong> cart<br>" in html.get_content()
    assert 'href="https://cases.example.org/incidents/INC-1"' in html.get_content()
    assert mail["Subject"] == "[P2] cart is slow"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert box.recipients == ["ada@example.org"]


async def test_what_telemetry_says_is_text_and_never_html(box: Mailbox) -> None:
    await email(box).send(message(address="a@example.org", text='<img src="x"> & "q"'))
    html = box.mails[0].get_body(("html",))
    assert html is not None
    assert "<img" not in html.get_content()
    assert "&lt;img src=&#34;x&#34;&gt; &amp;" in html.get_content()


async def test_a_repeat_has_the_same_message_id_and_bytes(box: Mailbox) -> None:
    channel = email(box)
    for _ in range(2):
        await channel.send(message(address="ada@example.org"))
    first, second = box.mails
    assert first["Message-ID"] == f"<{message().id}@ops.example.org>"
    assert first.as_bytes() == second.as_bytes()


async def test_later_messages_answer_the_first_one(box: Mailbox) -> None:
    channel = email(box)
    receipt = await channel.send(message(address="ada@example.org"))
    await channel.send(message(id="2", address="ada@example.org", thread=receipt.thread))
    first, second = box.mails
    root = first["References"]
    assert second["In-Reply-To"] == first["Message-ID"]
    assert second["References"] == f"{root} {first['Message-ID']}"
    assert second["Message-ID"] != first["Message-ID"]


async def test_names_beyond_ascii_arrive_whole(box: Mailbox) -> None:
    await email(box).send(message(address="a@example.org", subject="Zürich läuft – langsam"))
    assert box.mails[0]["Subject"] == "Zürich läuft – langsam"


@pytest.mark.parametrize(
    ("rcpt", "data", "expected"),
    [
        (["450 mailbox busy"], [], Retry),
        (["550 no such user"], [], Refused),
        ([], ["451 try again"], Retry),
        ([], ["554 spam"], Refused),
    ],
)
async def test_4xx_is_tried_again_and_5xx_is_not(
    box: Mailbox, rcpt: list[str], data: list[str], expected: type[Exception]
) -> None:
    box.rcpt, box.data = rcpt, data
    with pytest.raises(expected):
        await email(box).send(message(address="ada@example.org"))


async def test_a_server_that_does_not_say_goodbye_has_the_message(box: Mailbox) -> None:
    box.is_rude = True
    async with asyncio.timeout(40):
        await email(box, 60).send(message(address="ada@example.org"))
    assert len(box.mails) == 1


async def test_a_message_of_which_the_answer_never_came_is_sent_again_under_its_id(
    box: Mailbox,
) -> None:
    box.data = ["late"]
    with pytest.raises(Retry):
        await email(box).send(message(address="ada@example.org"))
    await email(box).send(message(address="ada@example.org"))
    assert len({mail["Message-ID"] for mail in box.mails}) == 1


async def test_a_server_that_is_not_there_is_unreachable() -> None:
    settings = EmailChannel(host="127.0.0.1", port=1, sender="t@example.org", security="none")
    with pytest.raises(Retry) as raised:
        await Email(settings, None, lambda: 0).send(message(address="ada@example.org"))
    assert raised.value.failure == "unreachable"


async def test_a_message_whose_forerunner_went_another_way_is_in_the_same_thread(
    box: Mailbox,
) -> None:
    channel = email(box)
    for changes in ({"id": "1"}, {"id": "2"}, {"id": "3", "recipient": "kim"}):
        await channel.send(message(address="ada@example.org", **changes))
    first, second, other = (mail["References"] for mail in box.mails)
    assert first == second != other


async def test_who_may_stop_messages_can_do_so_by_one_click(box: Mailbox) -> None:
    link = "https://tocsin.example.org/unsubscribe/abc"
    made = message(address="ada@example.org", unsubscribe=link, language="de")
    await email(box).send(made)
    mail = box.mails[0]
    assert mail["List-Unsubscribe"] == f"<{link}>"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert mail["Content-Language"] == "de"
    html = mail.get_body(("html",))
    assert html is not None
    assert f'<a href="{link}">Diese Nachrichten abbestellen</a>' in html.get_content()


async def test_pages_cannot_be_stopped_and_say_nothing_of_it(box: Mailbox) -> None:
    await email(box).send(message(address="ada@example.org"))
    assert box.mails[0]["List-Unsubscribe"] is None


async def test_what_the_mail_server_calls_the_message_is_kept(box: Mailbox) -> None:
    box.data = ["250 2.0.0 Ok: queued as 4F1X"]
    receipt = await email(box).send(message(address="ada@example.org"))
    assert receipt.accepted == "2.0.0 Ok: queued as 4F1X"
