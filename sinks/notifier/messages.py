"""What is due to whom: between those who decide (routing, escalation, cadence, limits) and those
who write and send.

An `Ask` is about one event of one incident and goes to one recipient; a `Digest` lists what was
held back from one; a `HandOver` says that a shift begins or ends, a `SilenceNotice` that a silence
does. The words of each are made when
it is asked for, and kept in the outbox as a `Message` of `channels.channel`, which has the keys:
`id` is the same at every attempt (the idempotency key), `incident_id` ties an incident's messages
together (a thread, PagerDuty's dedup_key), `ways` is what to fall over to.
"""

from typing import Literal

import msgspec

from schemas.configuration import Recipient
from schemas.incidents import IncidentEvent, Severity
from schemas.silences import SilenceEvent

Stage = Literal[
    "opened",
    "updated",
    "severity_changed",
    "acknowledged",
    "public_message",
    "resolved",
    "reopened",
    "unacknowledged",  # the acknowledgement lapsed or was given back
    "no_change",  # the promised update: nothing new
    "workaround",
    "follow_up",
    "final",
    "retracted",  # a public message was taken back
]
Kind = Literal[
    "news",  # the incident's stage, to whom it concerns
    "page",  # an escalation step: asks for an acknowledgement
    "reminder",  # to who has it: acknowledged a while ago, and it goes on
    "update_due",  # to who has it: the promised update is due soon, or overdue
    "review",  # a public message waits for approval
    "digest",
    "hand_over",
    "silence",  # a silence ends soon, or has ended
]


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One message about one incident that is due to one recipient.

    `event` is the incident event it is about, the latest one for what a timer brings. `rule` is
    the route, escalation or cadence that asked for it. `first` says that the recipient has not
    been told of this incident before. `step` says where an escalation is (`step 2 of 3, round 1`).
    `key` tells asks of one event to one recipient apart. `next_update_ms` is the promise that the
    message makes (for `update_due`: that it is about), Unix ms. A `drill` must say so first.
    """

    stage: Stage
    recipient: Recipient
    rule: str
    event: IncidentEvent
    kind: Kind = "news"
    first: bool = False
    step: str = ""
    key: str = ""
    next_update_ms: int | None = None
    drill: bool = False


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A message that was held back, as the digest lists it. Its words are those it would have had.

    `reason` is `limit` or `quiet_hours`.
    """

    message_id: str
    incident_id: str
    stage: Stage
    severity: Severity
    subject: str
    asked_ms: int
    reason: str


class Digest(msgspec.Struct, frozen=True, kw_only=True):
    """What was held back from a recipient, most severe first, and the latest of each incident.

    `items` are at most a page of them, and `more` how many there would be on further ones. `count`
    is how many messages there are in all, `incidents` how many incidents they are about. Times are
    wall time, Unix ms.
    """

    recipient: Recipient
    rule: str
    items: tuple[Held, ...]
    count: int
    incidents: int
    first_ms: int
    last_ms: int
    more: int = 0


class HandOver(msgspec.Struct, frozen=True, kw_only=True):
    """A shift begins (`comes_on`) or ends for a recipient. `other` is who goes or comes instead,
    None for nobody. `open_incidents` are titles with their ids and severities, worst first.
    """

    recipient: Recipient
    schedule: str
    comes_on: bool
    other: str | None
    time_ms: int
    until_ms: int | None
    open_incidents: tuple[str, ...] = ()


class SilenceNotice(msgspec.Struct, frozen=True, kw_only=True):
    """A silence ends soon or has ended. `is_author` says that the reader answers for it, else they
    stand in. `name` is what it is called: its id, or the name of the maintenance window; `extend`
    what to type so that it goes on, empty where that is too long."""

    recipient: Recipient
    rule: str
    event: SilenceEvent
    is_author: bool
    name: str
    extend: str
