"""Every address that a configuration has us ask, and whether it may be asked."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from schemas.configuration import Configuration
from sinks.outgoing import ForbiddenAddressError, Outgoing

BOT_ADDRESSES = ("service_url", "graph_url", "login_url", "keys_url")

Found = Iterator[tuple[str, str]]


def addresses_in(configuration: Configuration) -> Found:
    """The addresses that are asked over HTTP, by their path. Secret ones are seen at the start."""
    channels = configuration.notifier.channels
    path = "notifier.channels"
    if channels.slack is not None:
        yield f"{path}.slack.base_url", channels.slack.base_url
    for name in BOT_ADDRESSES if channels.teams_bot is not None else ():
        yield f"{path}.teams_bot.{name}", getattr(channels.teams_bot, name)
    for kind in ("webhooks", "sms", "voice"):
        for name, receiver in getattr(channels, kind).items():
            yield f"{path}.{kind}.{name}.url", receiver.url
    for kind in ("pagerduty", "opsgenie"):
        for name, service in getattr(channels, kind).items():
            yield f"{path}.{kind}.{name}.base_url", service.base_url
    for index, playbook in enumerate(configuration.incidents.playbooks):
        if playbook.webhook is not None:
            yield f"incidents.playbooks[{index}].webhook", playbook.webhook
    token_url = configuration.kafka.sasl_oauthbearer_token_endpoint_url
    if token_url is not None:
        yield "kafka.sasl_oauthbearer_token_endpoint_url", token_url


def wrong_addresses(configuration: Configuration) -> Found:
    """Addresses that are none, and those that `outgoing` does not let us ask."""
    outgoing = Outgoing.of(configuration.outgoing)
    for path, url in addresses_in(configuration):
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            yield path, "must be an address that begins with https:// or http://"
        else:
            yield from _refused(outgoing, path, parts.hostname)
    email = configuration.notifier.channels.email
    if email is not None:
        yield from _refused(outgoing, "notifier.channels.email.host", email.host)


def _refused(outgoing: Outgoing, path: str, host: str) -> Found:
    try:
        outgoing.check(host)
    except ForbiddenAddressError as error:
        yield path, str(error)
