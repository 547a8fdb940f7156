"""The ways a message can go out, one a module, and how they are made from the configuration."""

import sys
from collections.abc import Callable
from typing import TextIO

from schemas.configuration import Channels, Secret
from sinks.notifier.channels.apprise import Apprise
from sinks.notifier.channels.channel import Channel, Link, Message, Receipt, Refused, Retry
from sinks.notifier.channels.console import Console
from sinks.notifier.channels.email import Email
from sinks.notifier.channels.slack import Slack
from sinks.notifier.channels.webhook import Webhook

__all__ = ["Channel", "Link", "Message", "Receipt", "Refused", "Retry", "open_channels"]


def open_channels(
    channels: Channels,
    resolve: Callable[[Secret], str],
    now_ms: Callable[[], int],
    console: TextIO | None = None,
) -> dict[str, Channel]:
    """Every configured channel by the name that recipients use. Opens no connection yet."""
    made: dict[str, Channel] = {"console": Console(console or sys.stdout)}
    if channels.email is not None:
        password = channels.email.password
        made["email"] = Email(channels.email, resolve(password) if password else None, now_ms)
    if channels.slack is not None:
        made["slack"] = Slack(resolve(channels.slack.token), channels.slack.base_url, now_ms)
    for name, hook in channels.webhooks.items():
        secret = resolve(hook.secret) if hook.secret else None
        made[f"webhook:{name}"] = Webhook(hook.url, secret, now_ms)
    for name, url in channels.apprise.items():
        made[f"apprise:{name}"] = Apprise(name, resolve(url))
    return made
