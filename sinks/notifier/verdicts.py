"""Why somebody was told of an event, or was not: one verdict for each event and person. Pure."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from schemas.configuration import Recipient
from schemas.incidents import Delivery, IncidentEvent
from sinks.notifier.outbox import after_failed
from sinks.notifier.routing import Router, stage_of
from sinks.notifier.stakeholders import OnCall, absence

Outcome = Literal[
    "delivered",  # it reached them, alone or in a digest
    "on_its_way",  # it is being sent, or tried again
    "held",  # it waits for a digest
    "failed",  # every way to them failed
    "withheld",  # a rule kept it from them
    "not_concerned",  # no rule names them for it
]
_OUTCOMES: dict[str, Outcome] = {
    "asked": "on_its_way",
    "held": "held",
    "withheld": "withheld",
    "failed": "failed",
    "sent": "delivered",
    "accepted": "delivered",
    "acknowledged": "delivered",
}
_WEIGHT = ("not_concerned", "withheld", "failed", "held", "on_its_way", "delivered")
"""Of several messages about one event to one person, the verdict is that of the best."""
_TRIED_AGAIN = frozenset(("auth", "rate_limited", "unreachable"))


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What happened at one moment to one message."""

    time_ms: int
    step: str
    rule: str
    channel: str
    detail: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one event for one person. `reasons` says why they were not told."""

    event_id: str
    recipient: str
    outcome: Outcome
    rule: str = ""
    reasons: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()


def verdict(
    event_id: str,
    recipient: str,
    trail: Iterable[Delivery],
    why_not: Callable[[], Sequence[str]],
) -> Verdict:
    """The verdict that the trail of an incident gives, or that nothing in it does.

    `why_not` gives the reasons for which no rule names the person.
    """
    mine = [each for each in trail if (each.event_id, each.recipient) == (event_id, recipient)]
    messages: dict[str, list[Delivery]] = {}
    for each in mine:
        if each.status in _OUTCOMES:
            messages.setdefault(each.message_id, []).append(each)
    if not messages:
        return Verdict(
            event_id=event_id,
            recipient=recipient,
            outcome="not_concerned",
            reasons=tuple(why_not()),
            steps=tuple(_step(each) for each in mine),
        )
    went_on = {each.detail for each in mine if each.status == "asked"}
    ended = {name: _outcome(steps, went_on) for name, steps in messages.items()}
    best = max(messages, key=lambda name: (_WEIGHT.index(ended[name]), messages[name][-1].time_ms))
    last = messages[best][-1]
    return Verdict(
        event_id=event_id,
        recipient=recipient,
        outcome=ended[best],
        rule=last.rule,
        reasons=_reasons(ended[best], messages[best]),
        steps=tuple(_step(each) for each in mine),
    )


def why_not(
    router: Router,
    event: IncidentEvent,
    recipient: Recipient,
    told: Mapping[str, str],
    on_call: OnCall,
) -> tuple[str, ...]:
    """For each route why it does not tell somebody of an event."""
    stage = stage_of(event)
    if stage is None:
        return (f"nobody is told of events of the kind {event.type.replace('_', ' ')}",)
    reasons = []
    for route in router.routes:
        reason = absence(
            route,
            event,
            stage,
            recipient,
            recipients=router.recipients,
            catalogue=router.catalogue,
            on_call=on_call,
        )
        if reason is None and stage == "resolved" and recipient.name not in told:
            reason = "they never heard that it began"
        elif reason is None:
            reason = "it would tell them now: it has changed since, or they were told before"
        reasons.append(f"route {route.name}: {reason}")
    if not recipient.subscriptions:
        return (*reasons, "no subscription of their own")
    return (*reasons, "no subscription of their own matches")


def _reasons(outcome: Outcome, steps: Sequence[Delivery]) -> tuple[str, ...]:
    """Why somebody was not told, as the step says that decided it."""
    if outcome in ("delivered", "on_its_way"):
        return ()
    decided = [each for each in steps if _OUTCOMES.get(each.status) == outcome] or steps
    return (decided[-1].detail,)


def _outcome(steps: Sequence[Delivery], went_on: Collection[str]) -> Outcome:
    """What became of one message; `went_on` says which channels were left for the next way."""
    last = steps[-1]
    if any(each.status in ("sent", "accepted", "acknowledged") for each in steps):
        return "delivered"
    if any(each.status == "withheld" for each in steps):
        return "withheld"  # taken back while it was being sent, which then failed
    if last.status == "failed" and last.failure in _TRIED_AGAIN:
        return "failed" if after_failed(last.channel) in went_on else "on_its_way"
    return _OUTCOMES[last.status]


def _step(made: Delivery) -> Step:
    return Step(
        time_ms=made.time_ms,
        step=_name(made),
        rule=made.rule,
        channel=made.channel,
        detail=made.detail or made.subject,
    )


def _name(made: Delivery) -> str:
    """The step as one calls it who asks why."""
    if made.status == "withheld":
        for word in ("silenced", "inhibited", "unsubscribed"):
            if made.detail.startswith(word):
                return word
        return "grouped" if made.detail.startswith("overtaken") else "withheld"
    if made.status == "held":
        return "throttled" if made.detail == "limit" else "quiet hours"
    if made.status == "sent" and made.detail == "in a digest":
        return "delivered in a digest"
    names = {"asked": "routed", "accepted": "delivered", "scheduled": "planned"}
    return names.get(made.status, made.status.replace("_", " "))
