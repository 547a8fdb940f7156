"""When those outside hear the next time, and what happens as that time comes. Pure.

An update of any kind keeps the promise, also one that says that nothing has changed.
"""

from typing import Literal

import msgspec

from schemas.incidents import Severity
from schemas.oncall import Cadence
from sinks.cadence import GRACE_MS, MINUTE_MS, promised_ms, span_ms, with_change

MOST_ESCALATIONS = 5

Result = Literal["kept", "kept_by_no_change", "late", "missed"]
Action = Literal["remind", "no_change", "escalate"]


class Promise(msgspec.Struct, frozen=True, kw_only=True):
    """What was promised of one incident, Unix ms.

    `due_ms` is the promised time, `fire_ms` the next moment at which something is to be done,
    None if nothing is. `began_ms` is when outsiders were first told; `changes_ms` when facts
    changed lately; `automatic` counts updates in a row that nobody but tocsin made.
    """

    began_ms: int
    due_ms: int
    fire_ms: int | None
    severity: Severity
    reminded: bool = False
    automatic: int = 0
    escalated: int = 0
    changes_ms: tuple[int, ...] = ()


def make(
    cadence: Cadence, before: Promise | None, severity: Severity, now_ms: int, *, automatic: bool
) -> Promise | None:
    """The promise that an update made now makes; None if it makes none."""
    began_ms = before.began_ms if before else now_ms
    changes = before.changes_ms if before else ()
    due_ms = promised_ms(cadence, severity, began_ms, changes, now_ms)
    if due_ms is None:
        return None
    return Promise(
        began_ms=began_ms,
        due_ms=due_ms,
        fire_ms=_reminds_ms(cadence, due_ms, now_ms),
        severity=severity,
        automatic=(before.automatic + 1 if before else 1) if automatic else 0,
        changes_ms=changes,
    )


def changed(promise: Promise, now_ms: int) -> Promise:
    """A fact has changed."""
    return msgspec.structs.replace(promise, changes_ms=with_change(promise.changes_ms, now_ms))


def tightened(cadence: Cadence, promise: Promise, severity: Severity, now_ms: int) -> Promise:
    """The promise of an incident that has another severity now: never later than it was made, and
    sooner if the severity asks for it."""
    made = make(cadence, promise, severity, now_ms, automatic=False)
    if made is None or made.due_ms >= promise.due_ms:
        return msgspec.structs.replace(promise, severity=severity)
    return msgspec.structs.replace(made, automatic=promise.automatic)


def result(promise: Promise, now_ms: int, *, automatic: bool) -> Result | None:
    """What has become of the promise, now that there is an update; None where it was counted as
    missed before."""
    if promise.escalated:
        return None
    if now_ms > promise.due_ms + GRACE_MS:
        return "late"
    return "kept_by_no_change" if automatic else "kept"


def fire(
    cadence: Cadence, promise: Promise, now_ms: int, *, may_speak: bool
) -> tuple[Promise, Action | None]:
    """What is due. `no_change` is an update that the caller makes, with a promise of its own;
    tocsin makes none where it may not speak in public without a review."""
    if promise.fire_ms is None or promise.fire_ms > now_ms:
        return promise, None
    if not promise.reminded and now_ms < promise.due_ms:
        due = msgspec.structs.replace(promise, reminded=True, fire_ms=promise.due_ms)
        return due, "remind"
    if may_speak and promise.automatic < cadence.no_change_limit:
        return promise, "no_change"
    escalated = promise.escalated + 1
    span = span_ms(cadence, promise.severity, now_ms - promise.began_ms, (), now_ms)
    again_ms = None if escalated >= MOST_ESCALATIONS or span is None else now_ms + span
    return msgspec.structs.replace(promise, escalated=escalated, fire_ms=again_ms), "escalate"


def _reminds_ms(cadence: Cadence, due_ms: int, now_ms: int) -> int:
    before_ms = round(cadence.remind_minutes_before * MINUTE_MS)
    # Of a short span half is left, so that nobody is reminded of what was said a moment ago.
    return max(due_ms - before_ms, now_ms + (due_ms - now_ms) // 2)
