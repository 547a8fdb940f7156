"""What an escalation says of itself in the log: what will come when, and what came of it. Pure."""

import msgspec

from schemas.incidents import Delivery, Incident, IncidentEvent
from schemas.oncall import Escalation
from schemas.times import clock
from sinks.notifier.escalation.machine import Page
from sinks.notifier.outbox import message_id
from sinks.notifier.routing import PIPELINE

CHANNEL = "escalation"
"""Stands where a message has its channel."""


def record(page: Page, incident: Incident, recipient: str, key: str, now_ms: int) -> Delivery:
    """A record about no message: `key` tells it apart, status and detail are the caller's."""
    event_id = f"{incident.id}/{incident.version}"
    return Delivery(
        message_id=message_id(event_id, recipient, CHANNEL, key),
        event_id=event_id,
        incident_id=incident.id,
        status="withheld",
        time_ms=now_ms,
        recipient=recipient,
        audience="engineer",
        channel=CHANNEL,
        rule=page.policy,
    )


def planned(policy: Escalation, page: Page, incident: Incident, now_ms: int) -> list[Delivery]:
    """Whom the next moment is for, and when; none if nothing is to come that reaches anybody."""
    if page.due_ms is None or page.round > policy.repeats:
        return []
    if page.state == "acknowledged":
        names: tuple[str, ...] = (page.acknowledged_by or page.policy,)
        what, key = "a reminder, or the acknowledgement lapses,", str(page.reminded_ms)
    elif page.state == "paging":
        names = policy.steps[page.step].notify
        what, key = f"step {page.step + 1}", f"{page.round}/{page.step}"
    else:
        return []
    detail = f"{what} at {clock(page.due_ms)} UTC"
    key = f"scheduled/{page.policy}/{page.epoch}/{key}"
    return [
        msgspec.structs.replace(
            record(page, incident, name, key, now_ms),
            # The same at every version of the incident, so that it can be called off.
            message_id=message_id(incident.id, name, CHANNEL, key),
            status="scheduled",
            due_ms=page.due_ms,
            detail=detail,
        )
        for name in names
    ]


def called_off(policy: Escalation, page: Page, incident: Incident, now_ms: int) -> list[Delivery]:
    """That pages which were planned, as `page` has it, will not come: somebody has the incident,
    or it is over."""
    who = incident.acknowledged_by
    detail = f"acknowledged by {who}" if who else "there is nothing more to page for"
    return [
        msgspec.structs.replace(each, status="called_off", due_ms=None, detail=detail)
        for each in planned(policy, page, incident, now_ms)
    ]


def as_event(incident: Incident) -> IncidentEvent:
    """The incident as it stands, as the event that a timer speaks of."""
    return IncidentEvent(
        incident_id=incident.id,
        version=incident.version,
        type="updated",
        time_ms=incident.updated_ms,
        actor=PIPELINE,
        text=incident.title,
        incident=incident,
    )
