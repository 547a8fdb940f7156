"""Who is told of an incident event, by which rule, and what is withheld and why. Pure."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import get_args

from schemas.configuration import Catalogue, Recipient, Route
from schemas.incidents import EventType, Incident, IncidentEvent, Severity
from sinks.notifier.family import Family, goes_on
from sinks.notifier.messages import Stage
from sinks.notifier.stakeholders import (
    OWN_SUBSCRIPTION,
    OnCall,
    affected_segments,
    elsewhere,
    matches,
    named,
    subscribed,
)

__all__ = ["STAGES", "Decision", "Router", "Stage", "affected_segments", "matches", "public_names"]

STAGES: tuple[Stage, ...] = get_args(Stage)
_BEGINNINGS: frozenset[Stage] = frozenset(("opened", "reopened", "severity_changed", "updated"))
PIPELINE = "tocsin"
"""The actor of what no person did."""
ALONE = Family()
REPORTED: frozenset[Severity] = frozenset(("P1", "P2"))
"""Severities of which a closing report is sent, as the incident is closed."""
_LETS_TELL: frozenset[EventType] = frozenset(("approved", "unsilenced"))
"""What lets those hear of an incident who could not before."""
_FOR_THE_PUBLIC: frozenset[Stage] = frozenset(
    ("public_message", "workaround", "follow_up", "retracted", "no_change")
)


@dataclass(frozen=True, slots=True)
class Decision:
    """One recipient, the rule that chose them and the kind of message they get.

    `first` says that they have not been told of this incident before. `withheld` is the reason
    for which nothing is sent; None when the message goes out.
    """

    recipient: Recipient
    rule: str
    stage: Stage
    first: bool
    withheld: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What counts beside the event.

    `told` holds the recipients who were told of this incident before, with the rule by which, and
    `unheard` those among them whose messages are all still held back. `stale` marks an event too
    old to be news; `muted` is the silence or inhibition that applies to it; `unsubscribed` are
    recipients who want to hear nothing more. `family` are the incidents that it was taken out of,
    that were taken out of it, or merged.
    """

    told: Mapping[str, str]
    unheard: Collection[str] = frozenset()
    stale: bool = False
    muted: str | None = None
    unsubscribed: Collection[str] = frozenset()
    family: Family = ALONE


@dataclass(frozen=True, slots=True)
class _Choice:
    recipient: Recipient
    rule: str
    first: bool


def _nobody(_: str) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Router:
    """Decides who is told; a function of its arguments alone.

    `schedules` are names that routes may use beside those of recipients. Raises `ValueError` for a
    route to a recipient who is not there, before any incident does.
    """

    routes: tuple[Route, ...]
    recipients: Mapping[str, Recipient]
    catalogue: Catalogue
    schedules: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        used = {name for route in self.routes for name in route.recipients}
        if unknown := sorted(used - set(self.recipients) - self.schedules):
            raise ValueError(f"notifier.routes: no recipient is named {', '.join(unknown)}")

    def decide(
        self,
        event: IncidentEvent,
        told: Mapping[str, str],
        *,
        stale: bool = False,
        on_call: OnCall = _nobody,
    ) -> tuple[Decision, ...]:
        """As `decide_at`, with nothing muted."""
        return self.decide_at(event, Moment(told=told, stale=stale), on_call)

    def decide_at(
        self, event: IncidentEvent, moment: Moment, on_call: OnCall
    ) -> tuple[Decision, ...]:
        """One decision for each recipient whom the event concerns, in the order of the routes.

        Every matching route adds its recipients, the first route that names one is the rule.
        Who was told that an incident began is also told how it went on: of its end and of its
        return; engineers, managers and support who has it; customers and support what was said in
        public.
        """
        stage = stage_of(event)
        if stage is None:
            return ()
        return tuple(
            self._decision(
                event,
                stage,
                _Choice(
                    self.recipients[name],
                    rule,
                    name not in moment.told or name in moment.unheard,
                ),
                moment,
            )
            for name, rule in self._chosen(event, stage, moment.told, on_call).items()
        )

    def escalations(self, event: IncidentEvent) -> dict[str, str]:
        """The policies that matching routes name, each with the first such route."""
        stage = stage_of(event)
        if stage is None or stage not in _BEGINNINGS:
            return {}
        found: dict[str, str] = {}
        for route in self.routes:
            if route.escalation and matches(route, event, stage, self.catalogue):
                found.setdefault(route.escalation, route.name)
        return found

    def nobody_on_call(self, event: IncidentEvent, on_call: OnCall) -> list[tuple[str, str]]:
        """Schedules that matching routes name and by which nobody is on call, with the rule."""
        stage = stage_of(event)
        return [
            (name, route.name)
            for route in self.routes
            if stage is not None and matches(route, event, stage, self.catalogue)
            for name in route.recipients
            if name not in self.recipients and on_call(name) is None
        ]

    def _chosen(
        self, event: IncidentEvent, stage: Stage, told: Mapping[str, str], on_call: OnCall
    ) -> dict[str, str]:
        chosen: dict[str, str] = {}
        for name, rule in self._ruled(event, stage, told, on_call):
            if event.type in _LETS_TELL and name in told:
                continue  # only news to those who could not hear of it before
            chosen.setdefault(name, rule)
        for name, rule in told.items():
            known = self.recipients.get(name)
            if known is not None and follows(known, event, stage):
                chosen.setdefault(name, rule)
        return chosen

    def _ruled(
        self, event: IncidentEvent, stage: Stage, told: Mapping[str, str], on_call: OnCall
    ) -> Iterator[tuple[str, str]]:
        """Recipients by routes, then by their own subscriptions."""
        for route in self.routes:
            if not matches(route, event, stage, self.catalogue):
                continue
            for name in named(route, self.recipients, on_call):
                if elsewhere(self.recipients[name], event.incident, self.catalogue):
                    continue
                if stage == "resolved" and name not in told and _BEGINNINGS & set(route.events):
                    continue  # they never heard that it began
                yield name, route.name
        for recipient in self.recipients.values():
            if stage == "resolved" and recipient.name not in told:
                continue
            if subscribed(recipient, event, stage, self.catalogue):
                yield recipient.name, OWN_SUBSCRIPTION

    def _decision(
        self, event: IncidentEvent, stage: Stage, choice: _Choice, moment: Moment
    ) -> Decision:
        if choice.first and stage in ("updated", "severity_changed"):
            stage = "opened"  # news to them, whatever it is to others
        reason = self._reason_to_withhold(event, stage, choice, moment)
        return Decision(choice.recipient, choice.rule, stage, choice.first, reason)

    def _reason_to_withhold(
        self, event: IncidentEvent, stage: Stage, choice: _Choice, moment: Moment
    ) -> str | None:
        if choice.recipient.name in moment.unsubscribed:
            return "unsubscribed"
        reason = self._not_for_them(event.incident, choice)
        reason = reason or self._known_already(event.incident, stage, choice, moment.family)
        if reason is not None:
            return reason
        # What was told has an end, and what a person says to those who know of it is no alert:
        # both go out, whatever was muted since.
        said = stage in _FOR_THE_PUBLIC and event.actor != PIPELINE and not moment.stale
        if choice.recipient.name in moment.told and (said or stage == "resolved"):
            return None
        if moment.muted is not None:
            return moment.muted
        by = event.incident.acknowledged_by
        if stage == "updated" and choice.recipient.audience == "engineer" and by:
            return f"already acknowledged by {by}"
        return "the event is too old to be news" if moment.stale else None

    def _known_already(
        self, incident: Incident, stage: Stage, choice: _Choice, family: Family
    ) -> str | None:
        """Why it is no news to them, or not over for them, by another incident of the family."""
        if choice.first and stage == "opened":
            return family.known_with(incident, choice.recipient)
        if stage != "resolved":
            return None
        other = family.goes_on_in(incident, choice.recipient, self.catalogue)
        return None if other is None else goes_on(other)

    def _not_for_them(self, incident: Incident, choice: _Choice) -> str | None:
        """Why it is nothing for people of that audience."""
        audience = choice.recipient.audience
        if audience != "engineer" and choice.first and is_ahead(incident):
            return "a forecast: nobody is out yet"
        if audience != "customer":
            return None
        if not public_names(incident, self.catalogue):
            return "no affected service has a public name"
        if incident.visibility == "public" or not choice.first:
            return None
        return "waits for review" if incident.awaits_review else "the incident is internal"


def is_ahead(incident: Incident) -> bool:
    """Whether it is nothing but a forecast, about which only engineers can do something."""
    return incident.prediction is not None and not incident.prediction.out


def stage_of(event: IncidentEvent) -> Stage | None:
    """The kind of message that an event makes, None if it makes none."""
    if event.type in _LETS_TELL:
        return "opened"
    if event.type == "no_change" and event.actor == PIPELINE:
        return None  # told already, as the promise fell due
    if event.type == "closed":
        return "final" if _deserves_a_report(event.incident) else None
    return next((stage for stage in STAGES if stage == event.type), None)


def _deserves_a_report(incident: Incident) -> bool:
    """Whether its closing is worth a message: it was severe, true and an incident of its own."""
    is_true = not (incident.false_alarm_by or incident.merged_into or incident.drill)
    return is_true and incident.severity in REPORTED


def follows(recipient: Recipient, event: IncidentEvent, stage: Stage) -> bool:
    """Whether someone who was told of the beginning is told of this without a route of its own."""
    if stage in ("resolved", "reopened"):
        return True
    if stage in ("acknowledged", "unacknowledged"):
        return recipient.audience != "customer" and recipient.name != event.actor
    if stage == "final":
        return recipient.audience != "engineer"
    return stage in _FOR_THE_PUBLIC and recipient.audience in ("customer", "support")


def public_names(incident: Incident, catalogue: Catalogue) -> tuple[str, ...]:
    """What customers call the affected services, each once, in the incident's order."""
    known = {service.name: service.public_name for service in catalogue.services}
    return tuple(_once(name for s in incident.services if (name := known.get(s))))


def _once(names: Iterable[str]) -> Iterator[str]:
    return iter(dict.fromkeys(names))
