"""Apprise: reaches what it names, refuses what touches this machine, tells no secrets."""

import json
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


async def test_what_is_longer_than_a_service_takes_goes_in_parts() -> None:
    """ntfy takes 7,800 characters."""
    said = " ".join(f"word{number}" for number in range(3000))
    async with receiver() as hook:
        hook.script = [200] * 9
        channel = Apprise("phone", hook.url.replace("http://", "ntfy://"))
        await channel.send(message(text=said))
        await channel.close()
    bodies = [json.loads(body)["message"] for _, body in hook.requests]
    assert len(bodies) > 2
    assert max(map(len, bodies)) <= 7800
    assert set(said.split()) <= set(" ".join(bodies).split())


async def test_no_redirect_is_followed() -> None:
    async with receiver() as hook, receiver() as other:
        hook.script = [(302, {"Location": other.url})]
        channel = Apprise("desk", hook.url.replace("http://", "json://"))
        with pytest.raises(Retry):
            await channel.send(message())
        await channel.close()
    assert other.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "json://example.org/?redirect=yes",
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
