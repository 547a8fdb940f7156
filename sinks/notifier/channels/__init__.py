"""The ways a message can go out, one a module, and how they are made from the configuration."""

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TextIO
from urllib.parse import urlsplit

from schemas.configuration import Channels, PhoneChannel, Secret, SlackChannel
from schemas.configuration import TeamsBot as TeamsBotSettings
from sinks.notifier.channels.apprise import Apprise, AppriseUrlError
from sinks.notifier.channels.channel import Channel, Link, Message, Receipt, Refused, Retry
from sinks.notifier.channels.console import Console
from sinks.notifier.channels.email import Email
from sinks.notifier.channels.opsgenie import Opsgenie
from sinks.notifier.channels.pagerduty import PagerDuty
from sinks.notifier.channels.phone import Kind, Phone
from sinks.notifier.channels.slack import Slack, slack_client
from sinks.notifier.channels.slack_rooms import Rooms
from sinks.notifier.channels.teams import Teams
from sinks.notifier.channels.teams_bot import TeamsBot
from sinks.notifier.channels.teams_rooms import TeamsRooms
from sinks.notifier.channels.teams_service import services
from sinks.notifier.channels.webhook import Webhook
from sinks.outgoing import ForbiddenAddressError, Outgoing

__all__ = ["Channel", "Link", "Message", "Receipt", "Refused", "Retry", "open_channels"]


def open_channels(
    channels: Channels,
    resolve: Callable[[Secret], str],
    now_ms: Callable[[], int],
    *,
    console: TextIO | None = None,
    owners: Mapping[str, str] | None = None,
    outgoing: Outgoing | None = None,
) -> dict[str, Channel]:
    """Every configured channel by the name that recipients use. Opens no connection yet.

    `owners` are those of services, by whom people are invited to an incident's channel. Raises
    ValueError for an address that is none, or to which nothing may go.
    """
    made: dict[str, Channel] = {"console": Console(console or sys.stdout)}
    opening = _Opening(resolve, now_ms, owners or {}, outgoing or Outgoing())
    made.update(opening.single(channels))
    made.update(opening.named(channels))
    return made


class _Opening:
    """What channels are made with."""

    def __init__(
        self,
        resolve: Callable[[Secret], str],
        now_ms: Callable[[], int],
        owners: Mapping[str, str],
        outgoing: Outgoing,
    ) -> None:
        self._resolve = resolve
        self._now_ms = now_ms
        self._owners = owners
        self._outgoing = outgoing

    def single(self, channels: Channels) -> Iterator[tuple[str, Channel]]:
        """Those of which there is one."""
        if channels.email is not None:
            password = self._optional(channels.email.password)
            self._may_ask(channels.email.host, "email.host")
            yield "email", Email(channels.email, password, self._now_ms, outgoing=self._outgoing)
        if channels.slack is not None:
            yield "slack", self._slack(channels.slack)
        if channels.teams_bot is not None:
            yield "teams", self._teams_bot(channels.teams_bot)

    def named(self, channels: Channels) -> Iterator[tuple[str, Channel]]:
        """Those of which there may be several, each by a name of one's own."""
        now_ms, outgoing = self._now_ms, self._outgoing
        for name, hook in channels.webhooks.items():
            url = self._url(hook.url, f"webhooks.{name}.url")
            secret = self._optional(hook.secret)
            yield f"webhook:{name}", Webhook(url, secret, now_ms, outgoing=outgoing)
        for name, team in channels.teams.items():
            url = self._url(self._resolve(team.url), f"teams.{name}.url")
            yield f"teams:{name}", Teams(url, now_ms, outgoing=outgoing)
        yield from self._phones("sms", channels.sms)
        yield from self._phones("voice", channels.voice)
        for name, duty in channels.pagerduty.items():
            key = self._resolve(duty.routing_key)
            url = self._url(duty.base_url, f"pagerduty.{name}.base_url")
            yield f"pagerduty:{name}", PagerDuty(key, url, now_ms, outgoing=outgoing)
        for name, genie in channels.opsgenie.items():
            key = self._resolve(genie.api_key)
            url = self._url(genie.base_url, f"opsgenie.{name}.base_url")
            yield f"opsgenie:{name}", Opsgenie(key, url, now_ms, outgoing=outgoing)
        for name, secret_url in channels.apprise.items():
            if outgoing.is_restricted:
                raise AppriseUrlError(
                    f"notifier.channels.apprise.{name}: which hosts Apprise asks cannot be held "
                    "to `outgoing`; use another channel, or neither outgoing.allowed_hosts nor "
                    "private_networks: false"
                )
            url = self._resolve(secret_url)
            self._may_ask(urlsplit(url).hostname or "", f"apprise.{name}")
            yield f"apprise:{name}", Apprise(name, url)

    def _slack(self, section: SlackChannel) -> Slack:
        """Slack by its bot token. With a signing secret messages have buttons."""
        url = self._url(section.base_url, "slack.base_url")
        client = slack_client(self._resolve(section.token), url)
        return Slack(
            client,
            self._now_ms,
            rooms=Rooms(client, section.incident_channels, self._owners),
            buttons=section.signing_secret is not None,
            outgoing=self._outgoing,
        )

    def _teams_bot(self, section: TeamsBotSettings) -> TeamsBot:
        for name in ("service_url", "graph_url", "login_url", "keys_url"):
            self._url(getattr(section, name), f"teams_bot.{name}")
        password = self._resolve(section.password)
        graph, connector = services(section, password, self._now_ms, self._outgoing)
        return TeamsBot(section, graph, connector, TeamsRooms(graph, section, self._owners))

    def _phones(
        self, kind: Kind, phones: Mapping[str, PhoneChannel]
    ) -> Iterator[tuple[str, Channel]]:
        for name, phone in phones.items():
            made = Phone(
                kind,
                self._url(phone.url, f"{kind}.{name}.url"),
                secret=self._optional(phone.secret),
                token=self._optional(phone.token),
                now_ms=self._now_ms,
                outgoing=self._outgoing,
            )
            yield f"{kind}:{name}", made

    def _optional(self, secret: Secret | None) -> str | None:
        return self._resolve(secret) if secret else None

    def _url(self, url: str, where: str) -> str:
        """An address, which may be secret. Raises ValueError, which does not say it, if it is
        none or may not be asked."""
        if not url.startswith(("https://", "http://")):
            raise ValueError(
                f"notifier.channels.{where}: the secret is no address that begins with https://"
            )
        try:
            self._outgoing.check_url(url)
        except ForbiddenAddressError as error:
            raise ValueError(f"notifier.channels.{where}: {error}") from error
        return url

    def _may_ask(self, host: str, where: str) -> None:
        try:
            self._outgoing.check(host)
        except ForbiddenAddressError as error:
            raise ValueError(f"notifier.channels.{where}: {error}") from error
