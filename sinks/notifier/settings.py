"""Checks of what only the notifier can know: that names in its section point at something."""

from collections import Counter
from collections.abc import Iterator

from schemas.configuration import Notifier as NotifierSection
from schemas.configuration import Recipient


class NotifierConfigurationError(ValueError):
    """The notifier's section names what is not there; the text lists every mistake."""


def check(section: NotifierSection) -> None:
    """Raises NotifierConfigurationError with all mistakes, or returns."""
    mistakes = [*_recipients(section), *_routes(section)]
    if mistakes:
        raise NotifierConfigurationError("\n".join(mistakes))


def channel_names(section: NotifierSection) -> tuple[str, ...]:
    """The channels that are configured, as recipients name them."""
    channels = section.channels
    return (
        "console",
        *(("email",) if channels.email else ()),
        *(("slack",) if channels.slack else ()),
        *(f"webhook:{name}" for name in channels.webhooks),
        *(f"apprise:{name}" for name in channels.apprise),
    )


def _recipients(section: NotifierSection) -> Iterator[str]:
    names = Counter(recipient.name for recipient in section.recipients)
    for name, count in names.items():
        if count > 1:
            yield f"notifier.recipients: {name!r} is there {count} times; give each its own name"
    for recipient in section.recipients:
        yield from _channel(recipient, channel_names(section))


def _channel(recipient: Recipient, channels: tuple[str, ...]) -> Iterator[str]:
    where = f"notifier.recipients: {recipient.name}"
    if recipient.channel not in channels:
        yield (
            f"{where}.channel: {recipient.channel!r} is not configured under notifier.channels; "
            f"one of {', '.join(channels)}"
        )
    if recipient.channel in ("email", "slack") and not recipient.address:
        kind = "e-mail address" if recipient.channel == "email" else "Slack channel"
        yield f"{where}.address: is missing; write the {kind} there"


def _routes(section: NotifierSection) -> Iterator[str]:
    names = {recipient.name for recipient in section.recipients}
    for route in section.routes:
        for name in route.recipients:
            if name not in names:
                yield (
                    f"notifier.routes: {route.name}.recipients: {name!r} is not one of "
                    f"notifier.recipients ({', '.join(sorted(names))})"
                )
