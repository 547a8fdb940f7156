"""Which messages go out at once and which are held back for a digest. Pure."""

from typing import Literal, NamedTuple

from schemas.configuration import Recipient
from schemas.incidents import Severity
from schemas.oncall import MessageLimit
from sinks.notifier.messages import Kind
from sinks.notifier.oncall.walltime import ends_ms, is_within, zone_of

LONGEST_GATHER_MS = 60_000
"""What is held back is gathered for a fifth of the limit's span, and not for longer than this."""
SHARES: dict[Severity, float] = {"P1": 1.0, "P2": 0.75, "P3": 0.5, "P4": 0.5}
"""How much of the limit may be used up before a message of the severity is held back."""
URGENT: frozenset[Kind] = frozenset(("page", "reminder", "update_due", "hand_over"))
"""What quiet hours do not hold back: an escalation has its own hours, and who has an incident, or
has to hear that a promise was not kept, is awake for it."""

Reason = Literal["limit", "quiet_hours"]

MACHINES = ("webhook:", "pagerduty", "opsgenie")
"""Channels to programs, which want every message: without a limit unless they have one of their
own."""
UNLIMITED = MessageLimit(messages=0)


class Load(NamedTuple):
    """What a recipient has had lately: `messages` that were sent within the limit's span or
    wait to be sent; `oldest_ms` is when the first of those sent was, None if none was."""

    messages: int
    oldest_ms: int | None


class Hold(NamedTuple):
    """The message is held back until then, Unix ms."""

    until_ms: int
    reason: Reason


def limit_of(recipient: Recipient, default: MessageLimit) -> MessageLimit:
    """The limit that holds for a recipient."""
    if recipient.limit is not None:
        return recipient.limit
    return UNLIMITED if recipient.channel.startswith(MACHINES) else default


def hold(
    kind: Kind,
    severity: Severity,
    recipient: Recipient,
    *,
    limit: MessageLimit,
    load: Load,
    now_ms: int,
) -> Hold | None:
    """Whether a message is held back; None if it goes out now.

    Most severe first: less severe ones may use only a part of the limit, and the last message of
    it is kept for the digest.
    """
    if (quiet_ms := _quiet_until_ms(kind, severity, recipient, now_ms)) is not None:
        return Hold(quiet_ms, "quiet_hours")
    if has_room(limit, load, severity):
        return None
    return Hold(digest_ms(limit, load, now_ms), "limit")


def has_room(limit: MessageLimit, load: Load, severity: Severity) -> bool:
    """Whether a message of the severity still fits."""
    if limit.messages == 0:
        return True
    share = min(int(limit.messages * SHARES[severity]), limit.messages - 1)
    return load.messages < max(1, share)


def digest_ms(limit: MessageLimit, load: Load, now_ms: int) -> int:
    """When a digest of what is held back may go out: soon if there is room for it in the limit,
    else when there will be."""
    span_ms = round(limit.per_seconds * 1000)
    gather_ms = min(LONGEST_GATHER_MS, span_ms // 5)
    if has_room_for_digest(limit, load) or load.oldest_ms is None:
        return now_ms + gather_ms
    return max(now_ms, load.oldest_ms + span_ms)


def has_room_for_digest(limit: MessageLimit, load: Load) -> bool:
    """Whether a digest still fits."""
    return limit.messages == 0 or load.messages < limit.messages


def _quiet_until_ms(
    kind: Kind, severity: Severity, recipient: Recipient, now_ms: int
) -> int | None:
    quiet = recipient.quiet_hours
    if quiet is None or kind in URGENT or severity in quiet.severities:
        return None
    zone = zone_of(recipient.time_zone)
    if not is_within(quiet.hours, zone, now_ms):
        return None
    return ends_ms(quiet.hours, zone, now_ms)
