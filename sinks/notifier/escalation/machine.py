"""Where an escalation stands, and what its next moment brings. Pure: time is handed in."""

from typing import Literal

import msgspec

from schemas.oncall import Escalation, Step
from sinks.notifier.oncall.walltime import begins_ms, zone_of

MINUTE_MS = 60_000
DEFAULT_DELAY_MS = 5 * MINUTE_MS
"""Between steps that say nothing, and before a repeat whose first step would be at once."""

PageState = Literal["paging", "acknowledged", "exhausted", "over"]
CallKind = Literal["page", "reminder", "lapse", "exhausted", "too_late"]


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One policy at work on one incident, Unix ms.

    `step` and `round` count from 0 and are the next to come; `turn` shifts round robins; `epoch`
    counts how often the pages began. `due_ms` is the next moment, None if none is to come.
    """

    incident_id: str
    policy: str
    rule: str
    turn: int
    state: PageState = "paging"
    step: int = 0
    round: int = 0
    epoch: int = 0
    due_ms: int | None = None
    acknowledged_by: str | None = None
    heard_ms: int = 0
    """When somebody last said something of it, while it is acknowledged."""
    reminded_ms: int = 0
    lapsed: bool = False


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """What a moment asks for. `targets` are names of recipients and schedules; `key` names the
    moment among all those of the incident."""

    kind: CallKind
    targets: tuple[str, ...] = ()
    label: str = ""
    key: str = ""


class Machine:
    """The moves of one policy.

    Parameters
    ----------
    policy
        Its steps. Raises `WallTimeError` for a zone that there is not.
    too_late_ms
        A reminder or a lapse that could not be in time by so much is passed over, so that an old
        acknowledged incident does not page again when the notifier comes back.
    """

    def __init__(self, policy: Escalation, too_late_ms: int) -> None:
        self.policy = policy
        self._zone = zone_of(policy.time_zone)
        self._too_late_ms = too_late_ms
        self._remind_ms = _ms(policy.remind_after_minutes)
        self._lapse_ms = _ms(policy.unacknowledge_after_minutes)

    def begin(self, page: Page, now_ms: int) -> Page:
        """Starts paging, or starts anew after the incident came back or was let go."""
        return msgspec.structs.replace(
            page,
            state="paging",
            step=0,
            round=0,
            epoch=page.epoch + 1,
            acknowledged_by=None,
            due_ms=self._in_hours(now_ms + self._delay_ms(0, 0)),
        )

    def acknowledge(self, page: Page, by: str, now_ms: int) -> Page:
        """Stops the pages; reminders and the lapse count from here."""
        if page.state == "over":
            return page
        heard = msgspec.structs.replace(
            page, state="acknowledged", acknowledged_by=by, heard_ms=now_ms, reminded_ms=now_ms
        )
        return msgspec.structs.replace(heard, due_ms=self._next_after_acknowledged_ms(heard))

    def hear(self, page: Page, now_ms: int) -> Page:
        """Somebody did something about the incident: the reminder and the lapse wait anew."""
        if page.state != "acknowledged":
            return page
        heard = msgspec.structs.replace(page, heard_ms=now_ms, reminded_ms=now_ms)
        return msgspec.structs.replace(heard, due_ms=self._next_after_acknowledged_ms(heard))

    def end(self, page: Page) -> Page:
        """The incident is over, or no longer one for this policy."""
        return msgspec.structs.replace(page, state="over", due_ms=None)

    def fire(self, page: Page, now_ms: int) -> tuple[Page, Call | None]:
        """What is due at `now_ms`, and where the escalation stands after it."""
        if page.due_ms is None or page.due_ms > now_ms:
            return page, None
        if page.state == "paging":
            return self._fire_step(page, now_ms)
        if page.state == "acknowledged":
            return self._fire_acknowledged(page, now_ms)
        return msgspec.structs.replace(page, due_ms=None), None

    def skip(self, page: Page, now_ms: int) -> Page:
        """The step that has just fired reached nobody: the next one is not waited for."""
        if page.state != "paging" or page.due_ms is None or page.step == 0:
            return page
        return msgspec.structs.replace(page, due_ms=self._in_hours(now_ms))

    def _fire_step(self, page: Page, now_ms: int) -> tuple[Page, Call]:
        if page.round > self.policy.repeats:
            ended = msgspec.structs.replace(page, state="exhausted", due_ms=None)
            return ended, Call(kind="exhausted", label=f"nobody acknowledged: {self._where(page)}")
        call = Call(
            kind="page",
            targets=self._targets(page),
            label=self._where(page),
            key=f"{page.policy}/{page.epoch}/{page.round}/{page.step}",
        )
        step, turn = page.step + 1, page.round
        if step == len(self.policy.steps):
            step, turn = 0, page.round + 1
        # From now, not from when it was due: steps that were missed do not come all at once.
        due_ms = self._in_hours(now_ms + self._delay_ms(step, turn))
        return msgspec.structs.replace(page, step=step, round=turn, due_ms=due_ms), call

    def _fire_acknowledged(self, page: Page, now_ms: int) -> tuple[Page, Call]:
        late_ms = now_ms - (page.due_ms or now_ms)
        lapses_ms = self._lapses_ms(page)
        if late_ms > self._too_late_ms:
            quiet = msgspec.structs.replace(page, due_ms=None, lapsed=True)
            return quiet, Call(kind="too_late", label="acknowledged long ago: left alone")
        if lapses_ms is not None and lapses_ms <= now_ms:
            lapsed = msgspec.structs.replace(page, due_ms=None, lapsed=True)
            return lapsed, Call(kind="lapse", label=f"{page.acknowledged_by} has not been heard of")
        reminded = msgspec.structs.replace(page, reminded_ms=now_ms)
        due_ms = self._next_after_acknowledged_ms(reminded)
        key = f"{page.policy}/{page.epoch}/reminder/{page.reminded_ms}"
        call = Call(kind="reminder", targets=self._all_targets(), label="reminder", key=key)
        return msgspec.structs.replace(reminded, due_ms=due_ms), call

    def _next_after_acknowledged_ms(self, page: Page) -> int | None:
        reminds_ms = page.reminded_ms + self._remind_ms if self._remind_ms else None
        moments = [ms for ms in (reminds_ms, self._lapses_ms(page)) if ms is not None]
        return min(moments, default=None)

    def _lapses_ms(self, page: Page) -> int | None:
        return None if page.lapsed or not self._lapse_ms else page.heard_ms + self._lapse_ms

    def _delay_ms(self, step: int, turn: int) -> int:
        configured = self.policy.steps[step].after_minutes
        if step == 0 and turn == 0:
            return _ms(configured)
        if configured is None or (step == 0 and not configured):
            return DEFAULT_DELAY_MS
        return _ms(configured)

    def _targets(self, page: Page) -> tuple[str, ...]:
        step: Step = self.policy.steps[page.step]
        if not step.round_robin:
            return step.notify
        return (step.notify[(page.turn + page.round) % len(step.notify)],)

    def _all_targets(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for step in self.policy.steps for name in step.notify))

    def _in_hours(self, moment_ms: int) -> int:
        return begins_ms(self.policy.hours, self._zone, moment_ms)

    def _where(self, page: Page) -> str:
        rounds = self.policy.repeats + 1
        if page.round >= rounds:
            return f"{len(self.policy.steps)} steps, {rounds} rounds"
        step = f"step {page.step + 1} of {len(self.policy.steps)}"
        return f"{step}, round {page.round + 1} of {rounds}" if rounds > 1 else step


def _ms(minutes: float | None) -> int:
    return round((minutes or 0) * MINUTE_MS)
