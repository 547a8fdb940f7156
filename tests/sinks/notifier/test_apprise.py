"""Apprise: reaches what it names, refuses what touches this machine, tells no secrets."""

import logging

import pytest

from sinks.notifier.channels import Retry
from sinks.notifier.channels.apprise import Apprise, AppriseUrlError, target
from tests.sinks.notifier.receivers import receiver
from tests.sinks.notifier.test_webhook import message


async def test_the_text_and_its_links_arrive() -> None:
    async with receiver() as hook:
        channel = Apprise("desk", hook.url.replace("http://", "json://"))
        await channel.send(message())
        await channel.close()
    assert b"It is slow." in hook.requests[0][1]
    assert b"https://cases.example.org/incidents/INC-1" in hook.requests[0][1]


async def test_a_failure_is_tried_again_and_tells_no_secret(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    async with receiver() as hook:
        hook.script = [500]
        url = hook.url.replace("http://", "json://user:hunter2@") + "?+X-Token=hunter2"
        channel = Apprise("desk", url)
        with pytest.raises(Retry) as raised:
            await channel.send(message())
        await channel.close()
    assert "desk" in raised.value.detail
    assert "hunter2" not in caplog.text + str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "syslog://",
        "dbus://",
        "WINDOWS://",
        "macosx://",
        "gnome://",
        "file:///etc/passwd",
        "json://example.org/?attach=/etc/passwd",
        "fcm://project@key/device?keyfile=/etc/passwd",
        "nonsense://token",
        "no-url-token",
        "",
    ],
)
def test_what_touches_this_machine_or_means_nothing_is_refused(url: str) -> None:
    with pytest.raises(AppriseUrlError) as raised:
        target("desk", url)
    assert "notifier.channels.apprise.desk" in str(raised.value)
    assert "token" not in str(raised.value)
    assert "passwd" not in str(raised.value)
