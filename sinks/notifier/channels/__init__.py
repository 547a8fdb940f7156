"""The ways a message can go out, one a module, and how they are made from the configuration."""

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TextIO

from schemas.configuration import Channels, PhoneChannel, Secret, SlackChannel
from sinks.notifier.channels.apprise import Apprise
from sinks.notifier.channels.channel import Channel, Link, Message, Receipt, Refused, Retry
from sinks.notifier.channels.console import Console
from sinks.notifier.channels.email import Email
from sinks.notifier.channels.opsgenie import Opsgenie
from sinks.notifier.channels.pagerduty import PagerDuty
from sinks.notifier.channels.phone import Kind, Phone
from sinks.notifier.channels.slack import Slack, slack_client
from sinks.notifier.channels.slack_rooms import Rooms
from sinks.notifier.channels.teams import Teams
from sinks.notifier.channels.webhook import Webhook

__all__ = ["Channel", "Link", "Message", "Receipt", "Refused", "Retry", "open_channels"]


def open_channels(
    channels: Channels,
    resolve: Callable[[Secret], str],
    now_ms: Callable[[], int],
    console: TextIO | None = None,
    owners: Mapping[str, str] | None = None,
) -> dict[str, Channel]:
    """Every configured channel by the name that recipients use. Opens no connection yet.

    `owners` are those of services, by whom people are invited to an incident's channel.
    """
    made: dict[str, Channel] = {"console": Console(console or sys.stdout)}
    if channels.email is not None:
        password = channels.email.password
        made["email"] = Email(channels.email, resolve(password) if password else None, now_ms)
    if channels.slack is not None:
        made["slack"] = open_slack(channels.slack, resolve, now_ms, owners or {})
    for name, hook in channels.webhooks.items():
        secret = resolve(hook.secret) if hook.secret else None
        made[f"webhook:{name}"] = Webhook(hook.url, secret, now_ms)
    made.update(_open_named(channels, resolve, now_ms))
    for name, url in channels.apprise.items():
        made[f"apprise:{name}"] = Apprise(name, resolve(url))
    return made


def open_slack(
    section: SlackChannel,
    resolve: Callable[[Secret], str],
    now_ms: Callable[[], int],
    owners: Mapping[str, str],
) -> Slack:
    """Slack by its bot token. With a signing secret messages have buttons."""
    client = slack_client(resolve(section.token), section.base_url)
    return Slack(
        client,
        now_ms,
        rooms=Rooms(client, section.incident_channels, owners),
        buttons=section.signing_secret is not None,
    )


def _open_named(
    channels: Channels, resolve: Callable[[Secret], str], now_ms: Callable[[], int]
) -> Iterator[tuple[str, Channel]]:
    """Those of which there may be several, each by a name of one's own."""
    for name, team in channels.teams.items():
        yield f"teams:{name}", Teams(_address(resolve(team.url), f"teams.{name}.url"), now_ms)
    phones: tuple[tuple[Kind, dict[str, PhoneChannel]], ...] = (
        ("sms", channels.sms),
        ("voice", channels.voice),
    )
    for kind, named in phones:
        for name, phone in named.items():
            secret = resolve(phone.secret) if phone.secret else None
            token = resolve(phone.token) if phone.token else None
            yield (
                f"{kind}:{name}",
                Phone(kind, phone.url, secret=secret, token=token, now_ms=now_ms),
            )
    for name, duty in channels.pagerduty.items():
        yield f"pagerduty:{name}", PagerDuty(resolve(duty.routing_key), duty.base_url, now_ms)
    for name, genie in channels.opsgenie.items():
        yield f"opsgenie:{name}", Opsgenie(resolve(genie.api_key), genie.base_url, now_ms)


def _address(url: str, where: str) -> str:
    """A secret address. Raises ValueError, which does not say it, if it is none."""
    if not url.startswith(("https://", "http://")):
        raise ValueError(
            f"notifier.channels.{where}: the secret is no address that begins with https://"
        )
    return url
