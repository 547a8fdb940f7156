"""Who would be told of an incident, without a store: for questions and for routing tests. Pure but
for calendars, which are read from their files.
"""

import msgspec

from schemas.configuration import Configuration
from schemas.incidents import IncidentEvent
from schemas.oncall import Escalation
from sinks.notifier import bundling
from sinks.notifier.bundling import Load
from sinks.notifier.escalation.machine import Machine, Page
from sinks.notifier.intake import router_of
from sinks.notifier.muting import silenced
from sinks.notifier.people import People
from sinks.notifier.routing import Moment


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What one person would get: `withheld` says why nothing, `held_until_ms` when later."""

    recipient: str
    audience: str
    channel: str
    rule: str
    stage: str
    withheld: str | None = None
    held_until_ms: int | None = None


class Paged(msgspec.Struct, frozen=True, kw_only=True):
    """One step of an escalation, if nobody acknowledges before."""

    policy: str
    rule: str
    label: str
    at_ms: int
    recipients: tuple[str, ...]
    nobody: tuple[str, ...] = ()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """All that an event would lead to at a time, Unix ms."""

    at_ms: int
    told: tuple[Told, ...]
    paged: tuple[Paged, ...]
    nobody_on_call: tuple[str, ...] = ()

    def names(self) -> tuple[str, ...]:
        """Who gets something at once or later, each once."""
        return tuple(dict.fromkeys(each.recipient for each in self.told if not each.withheld))

    def paged_names(self) -> tuple[str, ...]:
        """Who is paged, in order, each once."""
        return tuple(dict.fromkeys(name for step in self.paged for name in step.recipients))


def plan(configuration: Configuration, event: IncidentEvent, at_ms: int) -> Plan:
    """Raises `ValueError` for a configuration that names nobody known."""
    section = configuration.notifier
    people, router = People(configuration), router_of(configuration)

    def on_call(schedule: str) -> str | None:
        return people.on_call(schedule, at_ms)

    muted = silenced(event.incident)
    told = []
    for decision in router.decide_at(event, Moment(told={}, muted=muted), on_call):
        recipient = decision.recipient
        hold = bundling.hold(
            "news",
            event.incident.severity,
            recipient,
            limit=bundling.limit_of(recipient, section.limit),
            load=Load(0, None),
            now_ms=at_ms,
        )
        told.append(
            Told(
                recipient=recipient.name,
                audience=recipient.audience,
                channel=recipient.channel,
                rule=decision.rule,
                stage=decision.stage,
                withheld=decision.withheld,
                held_until_ms=hold.until_ms if hold and not decision.withheld else None,
            )
        )
    paged: list[Paged] = []
    if muted is None and not event.incident.acknowledged_by:
        for name, rule in router.escalations(event).items():
            policy = next(each for each in section.escalations if each.name == name)
            paged += _pages(people, policy, rule, event, at_ms)
    return Plan(
        at_ms=at_ms,
        told=tuple(told),
        paged=tuple(paged),
        nobody_on_call=tuple(name for name, _ in router.nobody_on_call(event, on_call)),
    )


def _pages(
    people: People,
    policy: Escalation,
    rule: str,
    event: IncidentEvent,
    at_ms: int,
) -> list[Paged]:
    if event.incident.severity not in policy.severities:
        return []
    machine = Machine(policy, too_late_ms=0)
    page = Page(incident_id=event.incident_id, policy=policy.name, rule=rule, turn=0)
    page = machine.begin(page, at_ms)
    steps = []
    while page.due_ms is not None:
        due_ms = page.due_ms
        page, call = machine.fire(page, due_ms)
        if call is None or call.kind != "page":
            break
        found = {target: people.resolve(target, due_ms) for target in call.targets}
        steps.append(
            Paged(
                policy=policy.name,
                rule=rule,
                label=call.label,
                at_ms=due_ms,
                recipients=tuple(dict.fromkeys(person.name for person in found.values() if person)),
                nobody=tuple(target for target, person in found.items() if person is None),
            )
        )
        if not any(found.values()):
            page = machine.skip(page, due_ms)
    return steps
