"""What is to come, said in the log before it comes: promises, digests, changes of shift. Pure.

The steps of escalations say so themselves, in `escalation.records`.
"""

import msgspec

from schemas.incidents import Delivery, DeliveryStatus, Incident
from schemas.times import clock, duration
from sinks.notifier.cadence import Promise
from sinks.notifier.outbox import message_id

CADENCE = "cadence"
"""Stands where a message has its channel; and is the rule of what a promise brings."""
OUTSIDE = "customers and support"
"""To whom a promise is made."""


def promised(incident: Incident, promise: Promise, now_ms: int) -> Delivery:
    """That those outside are promised to hear again, and when."""
    detail = f"next update by {clock(promise.due_ms)} UTC"
    step = _of_promise(incident, promise, "scheduled", detail, now_ms)
    return msgspec.structs.replace(step, due_ms=promise.due_ms)


def kept(incident: Incident, promise: Promise, now_ms: int, *, automatic: bool) -> Delivery:
    """That there is an update in time."""
    detail = "tocsin said that nothing has changed" if automatic else "there is news"
    return _of_promise(incident, promise, "kept", detail, now_ms)


def missed(incident: Incident, promise: Promise, now_ms: int, detail: str = "") -> Delivery:
    """That there was none in time; `detail` is what was done, else how late it came."""
    late = f"the update came {duration(now_ms - promise.due_ms)} late"
    return _of_promise(incident, promise, "missed", detail or late, now_ms)


def passed_on(incident: Incident, promise: Promise, heir: str, now_ms: int) -> Delivery:
    """That another incident keeps it, in which this one goes on."""
    return _of_promise(incident, promise, "called_off", f"kept by {heir} from now on", now_ms)


def replaced(incident: Incident, promise: Promise, now_ms: int) -> Delivery:
    """That a sooner promise is in its place."""
    is_graver = incident.severity < promise.severity
    why = f"the incident is {incident.severity} now: " if is_graver else ""
    detail = f"{why}sooner"
    return _of_promise(incident, promise, "called_off", detail, now_ms)


def digest_planned(recipient: str, channel: str, due_ms: int, now_ms: int) -> Delivery:
    """That what is held back from a recipient will come in a digest, and when."""
    event_id = f"digest/{recipient}/{due_ms}"
    return Delivery(
        message_id=message_id(event_id, recipient, channel, "scheduled"),
        event_id=event_id,
        incident_id="",
        status="scheduled",
        time_ms=now_ms,
        recipient=recipient,
        audience="",
        channel=channel,
        rule="limit",
        detail=f"a digest at {clock(due_ms)} UTC",
        due_ms=due_ms,
    )


def hand_over_planned(schedule: str, due_ms: int, now_ms: int) -> Delivery:
    """That the shift of a schedule changes, and when."""
    event_id = f"hand_over/{schedule}/{due_ms}"
    return Delivery(
        message_id=message_id(event_id, schedule, "schedule"),
        event_id=event_id,
        incident_id="",
        status="scheduled",
        time_ms=now_ms,
        recipient=schedule,
        audience="engineer",
        channel="schedule",
        rule=schedule,
        detail=f"the shift changes at {clock(due_ms)} UTC",
        due_ms=due_ms,
    )


def _of_promise(
    incident: Incident, promise: Promise, status: DeliveryStatus, detail: str, now_ms: int
) -> Delivery:
    """A step in the life of a promise, which its incident and time tell apart from others."""
    return Delivery(
        message_id=message_id(incident.id, OUTSIDE, CADENCE, str(promise.due_ms)),
        event_id=f"{incident.id}/{incident.version}",
        incident_id=incident.id,
        status=status,
        time_ms=now_ms,
        recipient=OUTSIDE,
        audience="customer",
        channel=CADENCE,
        rule=CADENCE,
        detail=detail,
    )
