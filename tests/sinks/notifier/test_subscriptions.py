"""The link that stops messages: what it shows, what its button and a mail program's click do."""

import re

from schemas.configuration import Channels, EmailChannel, Recipient
from sinks.notifier import Notifier
from tests.sinks.examples import cpu_fault, cpu_incident, event, network_fault
from tests.sinks.notifier.conftest import Bench, until
from tests.sinks.notifier.receivers import Mailbox, mailbox
from tests.sinks.notifier.test_acknowledge import browser


async def told(bench: Bench, box: Mailbox) -> tuple[Notifier, str]:
    """A notifier that has told support of an incident, and the path of the link in the mail."""
    settings = EmailChannel(
        host="127.0.0.1", port=box.port, sender="t@example.org", security="none"
    )
    kim = Recipient(
        name="kim",
        channel="email",
        address="kim@example.org",
        audience="support",
        language="fr",
    )
    configuration = bench.configuration(channels=Channels(email=settings), recipients=(kim,))
    notifier = await bench.start(configuration)
    await bench.feed(notifier, cpu_fault()[0])
    await until(lambda: bench.kafka.deliveries("sent"))
    found = re.search(r"<http://[^/]+(/\S+)>", str(box.mails[0]["List-Unsubscribe"]))
    assert found is not None
    return notifier, found.group(1)


async def test_a_click_in_the_mail_program_stops_messages_and_the_page_starts_them_again(
    bench: Bench,
) -> None:
    async with mailbox() as box:
        notifier, path = await told(bench, box)
        async with browser(notifier) as session:
            done = await session.post(path, data={"List-Unsubscribe": "One-Click"})
            assert "Vous ne recevrez plus de messages." in await done.text()
            await bench.feed(notifier, network_fault()[0])
            await until(lambda: bench.kafka.deliveries("withheld"))
            assert bench.kafka.deliveries("withheld")[0].detail == "unsubscribed"
            again = await session.post(path, data={"again": "1"})
            assert "Vous recevez de nouveau des messages." in await again.text()
            await bench.feed(notifier, event(cpu_incident(id="inc-cpu-02"), "opened"))
        await until(lambda: len(box.mails) == 2)


async def test_opening_the_link_stops_nothing(bench: Bench) -> None:
    async with mailbox() as box:
        notifier, path = await told(bench, box)
        async with browser(notifier) as session:
            shown = await session.get(path)
            assert '<html lang="fr">' in await shown.text()
        await bench.feed(notifier, network_fault()[0])
        await until(lambda: len(box.mails) == 2)


async def test_a_link_that_is_not_ours_stops_nothing(bench: Bench) -> None:
    async with mailbox() as box:
        notifier, path = await told(bench, box)
        async with browser(notifier) as session:
            assert (await session.post(f"{path}x")).status == 404
            assert (await session.get("/unsubscribe/nonsense")).status == 404
