"""Receivers with an hour of trouble: what each is asked meanwhile, and what its reader sees."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

from aiohttp import web

from schemas.configuration import (
    Channels,
    EmailChannel,
    OpsgenieChannel,
    PagerDutyChannel,
    PhoneChannel,
    Recipient,
    Secret,
    SlackChannel,
    TeamsChannel,
    WebhookChannel,
)
from schemas.incidents import Delivery
from tests.sinks.notifier import services, slack_look_alike, teams_look_alike
from tests.sinks.notifier.receivers import Mailbox, Receiver, Trouble, mailbox, serving

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Place(Protocol):
    """A receiver. `trouble` is what it is in, None while it works."""

    trouble: Trouble | None
    knows_repeats: bool

    @property
    def asked(self) -> int:
        """How often it was asked for something."""

    @property
    def channels(self) -> Channels:
        """What of the configuration leads there."""

    @property
    def reader(self) -> Recipient:
        """Who reads there."""

    def arrived(self) -> list[str]:
        """What its reader has got, in order: ids of messages, or as `told` names them."""

    def told(self, asked: Delivery) -> str:
        """What one message that was asked for is in `arrived`."""


class HttpPlace:
    """A look-alike behind a door that makes the trouble."""

    knows_repeats = True

    def __init__(self) -> None:
        self.trouble: Trouble | None = None
        self.asked = 0
        self.url = ""
        self.keys: list[str] = []
        """Of what was taken, with repeats."""

    def told(self, asked: Delivery) -> str:
        return asked.message_id

    @web.middleware
    async def door(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.asked += 1
        if self.trouble in (None, "late"):
            self.keys.append(request.headers.get("Idempotency-Key", ""))
        if self.trouble is None:
            return await handler(request)
        if self.trouble in ("404", "500"):
            return web.Response(status=int(self.trouble))
        if self.trouble == "429":
            return web.Response(status=429, headers={"Retry-After": "30"})
        answer = await handler(request) if self.trouble == "late" else web.Response()
        if request.transport is not None:
            request.transport.abort()
        return answer


class HookPlace(HttpPlace):
    """A webhook that keeps to the rule: what has a known key is a repeat."""

    def __init__(self) -> None:
        super().__init__()
        self.hook = Receiver()

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/hook", self.hook.handle)]

    @property
    def channels(self) -> Channels:
        return Channels(webhooks={"desk": WebhookChannel(url=f"{self.url}/hook")})

    @property
    def reader(self) -> Recipient:
        return Recipient(name="desk", channel="webhook:desk")

    def arrived(self) -> list[str]:
        return list(dict.fromkeys(self.hook.ids))


class PhonePlace(HttpPlace):
    """A provider of text messages, which knows a repeat by its key."""

    def __init__(self) -> None:
        super().__init__()
        self.provider = services.ProviderLookAlike()

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/sms", self.provider.answer)]

    @property
    def channels(self) -> Channels:
        return Channels(sms={"desk": PhoneChannel(url=f"{self.url}/sms", token=Secret(env="SMS"))})

    @property
    def reader(self) -> Recipient:
        return Recipient(name="desk", channel="sms:desk", address="+491700000")

    def arrived(self) -> list[str]:
        return list(self.provider.delivered)


class PagerDutyPlace(HttpPlace):
    """PagerDuty knows an alert by its `dedup_key`; what it is told again changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.duty = services.PagerDutyLookAlike()

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/v2/enqueue", self.duty.answer)]

    @property
    def channels(self) -> Channels:
        made = PagerDutyChannel(routing_key=Secret(env="DUTY"), base_url=self.url)
        return Channels(pagerduty={"desk": made})

    @property
    def reader(self) -> Recipient:
        return Recipient(name="desk", channel="pagerduty:desk")

    def arrived(self) -> list[str]:
        said = [f"{each['dedup_key']} {each['event_action']}" for each in self.duty.taken]
        return list(dict.fromkeys(said))

    def told(self, asked: Delivery) -> str:
        return f"{asked.incident_id} {_act(asked, 'trigger', 'acknowledge', 'resolve')}"


class OpsgeniePlace(HttpPlace):
    """Opsgenie knows an alert by its alias."""

    def __init__(self) -> None:
        super().__init__()
        self.genie = services.OpsgenieLookAlike()

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/{path:.*}", self.genie.answer)]

    @property
    def channels(self) -> Channels:
        made = OpsgenieChannel(api_key=Secret(env="GENIE"), base_url=self.url)
        return Channels(opsgenie={"desk": made})

    @property
    def reader(self) -> Recipient:
        return Recipient(name="desk", channel="opsgenie:desk")

    def arrived(self) -> list[str]:
        said = []
        for each in self.genie.taken:
            parts = each["path"].split("/")
            said.append(f"{each['alias']} create" if len(parts) == 3 else f"{parts[3]} {parts[4]}")
        return list(dict.fromkeys(said))

    def told(self, asked: Delivery) -> str:
        return f"{asked.incident_id} {_act(asked, 'create', 'acknowledge', 'close')}"


class SlackPlace(HttpPlace):
    """Slack, which knows no repeat: that we look ourselves is what is tried."""

    def __init__(self) -> None:
        super().__init__()
        self.team = slack_look_alike.SlackLookAlike()

    def routes(self) -> list[web.RouteDef]:
        return [web.route("*", "/api/{method:.*}", self.team.handle)]

    @property
    def channels(self) -> Channels:
        return Channels(slack=SlackChannel(token=Secret(env="SLACK"), base_url=f"{self.url}/api/"))

    @property
    def reader(self) -> Recipient:
        return Recipient(name="desk", channel="slack", address="#ops")

    def arrived(self) -> list[str]:
        return [post["metadata"]["event_payload"]["message_id"] for post in self.team.posted]


class TeamsBotPlace(HttpPlace):
    """The Bot Connector, which knows no repeat and shows us nothing of what we have posted."""

    knows_repeats = False

    def __init__(self) -> None:
        super().__init__()
        self.team = teams_look_alike.TeamsBotLookAlike()

    def routes(self) -> list[web.RouteDef]:
        return self.team.routes()

    @property
    def channels(self) -> Channels:
        self.team.url = self.url
        return Channels(teams_bot=teams_look_alike.settings(self.team))

    @property
    def reader(self) -> Recipient:
        return Recipient(name="desk", channel="teams", address="19:general@thread.tacv2")

    def arrived(self) -> list[str]:
        return list(self.team.summaries)

    def told(self, asked: Delivery) -> str:
        return asked.subject


class TeamsPlace(HttpPlace):
    """A workflow, which knows no repeat."""

    knows_repeats = False

    def __init__(self) -> None:
        super().__init__()
        self.flow = services.TeamsLookAlike()

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/flow", self.flow.answer)]

    @property
    def channels(self) -> Channels:
        return Channels(teams={"desk": TeamsChannel(url=Secret(env="FLOW"))})

    @property
    def reader(self) -> Recipient:
        return Recipient(name="desk", channel="teams:desk")

    def arrived(self) -> list[str]:
        return self.keys


class MailPlace:
    """A mail server whose mailboxes drop what has a Message-ID that they know."""

    knows_repeats = True

    def __init__(self, box: Mailbox) -> None:
        self.box = box

    @property
    def trouble(self) -> Trouble | None:
        return self.box.trouble

    @trouble.setter
    def trouble(self, trouble: Trouble | None) -> None:
        self.box.trouble = trouble

    @property
    def asked(self) -> int:
        return self.box.asked

    @property
    def channels(self) -> Channels:
        made = EmailChannel(
            host="127.0.0.1", port=self.box.port, sender="t@example.org", security="none"
        )
        return Channels(email=made)

    @property
    def reader(self) -> Recipient:
        return Recipient(name="desk", channel="email", address="desk@example.org")

    def arrived(self) -> list[str]:
        return list(dict.fromkeys(mail["Message-ID"] for mail in self.box.mails))

    def told(self, asked: Delivery) -> str:
        return f"<{asked.message_id}@example.org>"


PLACES: dict[str, type[Any]] = {
    "webhook": HookPlace,
    "slack": SlackPlace,
    "teams bot": TeamsBotPlace,
    "teams workflow": TeamsPlace,
    "pagerduty": PagerDutyPlace,
    "opsgenie": OpsgeniePlace,
    "sms": PhonePlace,
}
"""By name, those that are reached by HTTP."""


@asynccontextmanager
async def place(name: str) -> AsyncIterator[Place]:
    """A running receiver."""
    if name == "email":
        async with mailbox() as box:
            yield MailPlace(box)
        return
    made = PLACES[name]()
    app = web.Application(middlewares=[made.door])
    app.add_routes(made.routes())
    async with serving(app) as base:
        made.url = base
        yield made


def _act(asked: Delivery, begins: str, taken: str, ends: str) -> str:
    """What a message is to a service that keeps alerts, by the event that it is of."""
    version = int(asked.event_id.rpartition("/")[2])
    return {1: begins, 3: taken, 4: ends}[version]
