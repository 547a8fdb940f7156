"""What the pages show, made ready: merged timeline, messages, bars, words for numbers. Pure."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from markupsafe import Markup

from schemas import times
from schemas.incidents import Delivery, Incident, Signal
from schemas.times import iso, utc
from schemas.units import metric_of, split_unit
from sinks.case_store.reader import AuditEntry, File, TimelineEvent

PENDING_MS = 900_000
REPLAY_MS = 3_600_000
LONGEST_TIMELINE, FIRST_LINES, LAST_LINES = 80, 20, 40
STATUS_WORDS = {
    "scheduled": "planned",
    "held": "held for a digest",
    "asked": "being sent",
    "sent": "sent",
    "accepted": "received",
    "failed": "failed",
    "withheld": "withheld",
    "acknowledged": "acknowledged",
    "called_off": "called off",
    "kept": "promise kept",
    "missed": "promise missed",
}
"""What a step is called; of two at one moment the later in this list is the later one."""
NATURES: dict[str, str] = {
    "capacity": "a resource is at its limit, or soon will be",
    "network": "calls lose time or are lost on the way",
    "software": "a service itself fails",
    "performance": "a service is slow, and nothing says why",
    "demand": "far more or fewer requests than expected",
    "availability": "a service, or its telemetry, is gone",
    "other": "of no known kind",
}
"""What the categories mean."""
NO_CHANNELS = ("escalation", "cadence", "schedule")
"""What stands in place of a channel where a step is no message's."""
SOON_MS = 1_000
"""What is planned for within this is told by what follows."""


class Bar(msgspec.Struct, frozen=True):
    """When a signal was out, on a line of 0 to 100; `opened` is where the incident was opened."""

    start: float
    width: float
    opened: float


class SignalRow(msgspec.Struct, frozen=True):
    """A signal with its bar and whether it was there when the incident was opened."""

    signal: Signal
    seen: str
    expected: str
    bar: Bar
    at_opening: bool


class Message(msgspec.Struct, frozen=True):
    """One message to one recipient: where it stands and how it came there."""

    latest: Delivery
    about: str
    attempts: int
    seconds: float | None


class Entry(msgspec.Struct, frozen=True):
    """A line of the timeline: an event or a delivery."""

    event: TimelineEvent | None = None
    delivery: Delivery | None = None


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """What the page of a case needs beside the case itself."""

    opening: Incident
    opening_seen: bool
    opening_signals: tuple[SignalRow, ...]
    signals: tuple[SignalRow, ...]
    messages: tuple[Message, ...]
    entries: tuple[tuple[Entry, ...], ...]
    """First, folded away, last: a long incident has hundreds of lines."""
    pending: tuple[AuditEntry, ...]
    replayed: bool
    promise: Delivery | None
    """The last step of the promise of a next update, while it is not settled or was missed."""


def page(file: File, now_ms: int) -> Page:
    """Everything the page of a case shows."""
    incident = file.case.incident
    opened = next((e.incident for e in file.events if e.type == "opened" and e.incident), None)
    opening = opened or incident
    at_opening = {signal.series for signal in opening.signals}
    return Page(
        opening=opening,
        opening_seen=opened is not None,
        opening_signals=_signals(opening, at_opening),
        signals=_signals(incident, at_opening),
        messages=messages(file.deliveries, file.events, now_ms if file.case.open else None),
        entries=_folded(merged(file.events, file.deliveries)),
        pending=_pending(file, now_ms),
        promise=_promise(file.deliveries) if file.case.open else None,
        replayed=any(abs(e.recorded_ms - e.time_ms) > REPLAY_MS for e in file.events),
    )


def _promise(deliveries: Sequence[Delivery]) -> Delivery | None:
    steps = [each for each in deliveries if each.channel == "cadence"]
    last = steps[-1] if steps else None
    return last if last is not None and last.status in ("scheduled", "missed") else None


def merged(events: Sequence[TimelineEvent], deliveries: Sequence[Delivery]) -> tuple[Entry, ...]:
    """Events and deliveries in one order.

    Events have event time, deliveries the wall clock's; when old data is replayed they are years
    apart. So they are put in order by when each was recorded, a delivery never before its event.
    """
    places = {event.id: place for place, event in enumerate(events)}
    after: dict[int, list[Delivery]] = {}
    for delivery in _steps_shown(deliveries):
        place = places.get(delivery.event_id, -1)
        while place + 1 < len(events) and events[place + 1].recorded_ms <= delivery.time_ms:
            place += 1
        after.setdefault(place, []).append(delivery)
    lines = [Entry(delivery=delivery) for delivery in after.get(-1, ())]
    for place, event in enumerate(events):
        lines.append(Entry(event=event))
        lines.extend(Entry(delivery=delivery) for delivery in after.get(place, ()))
    return tuple(lines)


def _folded(entries: tuple[Entry, ...]) -> tuple[tuple[Entry, ...], ...]:
    if len(entries) <= LONGEST_TIMELINE:
        return entries, (), ()
    return entries[:FIRST_LINES], entries[FIRST_LINES:-LAST_LINES], entries[-LAST_LINES:]


def _steps_shown(deliveries: Sequence[Delivery]) -> list[Delivery]:
    """Without `asked` where a later step says what became of the message, and without what is
    planned for the very moment."""
    further = {d.message_id for d in deliveries if d.status != "asked"}
    return [
        d
        for d in deliveries
        if not (d.status == "asked" and d.message_id in further)
        and not (d.due_ms is not None and d.status == "scheduled" and _is_soon(d))
    ]


def _is_soon(delivery: Delivery) -> bool:
    return delivery.due_ms is not None and delivery.due_ms - delivery.time_ms < SOON_MS


def step_words(delivery: Delivery) -> str:
    """What a step is called."""
    if (delivery.channel, delivery.status) == ("cadence", "scheduled"):
        return "promised"
    return STATUS_WORDS[delivery.status]


def way_words(delivery: Delivery) -> str:
    """By which channel, where it is a message's."""
    return "" if delivery.channel in NO_CHANNELS else f"over {delivery.channel}"


def messages(
    deliveries: Sequence[Delivery], events: Sequence[TimelineEvent], now_ms: int | None
) -> tuple[Message, ...]:
    """One line a message, and one for each page that is still to come at `now_ms`; none are where
    it is None. Deliveries come in the order of time."""
    about = {event.id: event.type for event in events}
    steps: dict[str, list[Delivery]] = {}
    for delivery in deliveries:
        steps.setdefault(delivery.message_id, []).append(delivery)
    return tuple(
        Message(
            latest=_latest(own),
            about=words(about.get(own[0].event_id, "an event not read yet")),
            attempts=max(step.attempt for step in own),
            seconds=next(
                (s.seconds_to_communicate for s in own if s.seconds_to_communicate is not None),
                None,
            ),
        )
        for own in steps.values()
        if _concerns_somebody(own, now_ms)
    )


def _concerns_somebody(steps: Sequence[Delivery], now_ms: int | None) -> bool:
    """Whether it is a message, is to become one, or says why there is none."""
    last = _latest(steps)
    if last.status == "scheduled":
        is_to_come = now_ms is not None and last.due_ms is not None and last.due_ms > now_ms
        return is_to_come and last.channel != "cadence"
    return last.channel not in NO_CHANNELS or last.status in ("failed", "withheld")


def _latest(steps: Sequence[Delivery]) -> Delivery:
    order = list(STATUS_WORDS)
    return max(steps, key=lambda step: (step.time_ms, order.index(step.status), step.attempt))


def _signals(incident: Incident, at_opening: set[str]) -> tuple[SignalRow, ...]:
    ends = [signal.last_ms for signal in incident.signals]
    start = min([incident.first_anomaly_ms, *(s.first_ms for s in incident.signals)])
    end = max([incident.last_anomaly_ms, incident.opened_ms, *ends, start + 1])
    scale = 96 / (end - start)  # leaves room to the right, so that the last mark can be seen
    opened = _within((incident.opened_ms - start) * scale)
    rows = []
    for signal in sorted(incident.signals, key=lambda s: (s.first_ms, -s.score, s.series)):
        left = _within((signal.first_ms - start) * scale)
        width = max(1.5, (signal.last_ms - signal.first_ms) * scale)
        bar = Bar(min(left, 98.5), min(width, 100 - min(left, 98.5)), opened)
        rows.append(
            SignalRow(
                signal=signal,
                seen=quantity(signal.value, signal.series),
                expected=_expected(signal),
                bar=bar,
                at_opening=signal.series in at_opening,
            )
        )
    return tuple(rows)


def _within(value: float) -> float:
    return round(min(100.0, max(0.0, value)), 2)


def _expected(signal: Signal) -> str:
    if signal.expected == signal.lower == signal.upper == 0:
        return "none"
    if signal.lower == signal.upper:
        return quantity(signal.expected, signal.series)
    low, high = quantity(signal.lower, signal.series), quantity(signal.upper, signal.series)
    return f"{low} to {high}"


def _pending(file: File, now_ms: int) -> tuple[AuditEntry, ...]:
    """Commands sent a short while ago that the log does not show yet."""
    done = {event.command_id for event in file.events}
    return tuple(
        entry
        for entry in file.audit
        if entry.step == "sent"
        and entry.command_id not in done
        and now_ms - entry.time_ms < PENDING_MS
    )


def quantity(value: float, series: str = "") -> str:
    """Three significant digits and the unit that the metric's name ends in."""
    _, unit = split_unit(metric_of(series))
    if unit == "%":
        return f"{_digits(value * 100)} %"
    if unit == "B":
        for prefix in ("", "k", "M", "G", "T"):
            if abs(value) < 1000 or prefix == "T":
                return f"{_digits(value)} {prefix}B"
            value /= 1000
    if unit == "s" and 0 < abs(value) < 1:
        small = abs(value) < 0.001
        return f"{_digits(value * (1e6 if small else 1e3))} {'µs' if small else 'ms'}"
    return f"{_digits(value)}{unit}" if unit == "/s" else f"{_digits(value)} {unit}".rstrip()


def _digits(value: float) -> str:
    if value == int(value) and abs(value) < 1e6:
        return f"{int(value):,}"
    if 0 < abs(value) < 0.001 or abs(value) >= 1e6:
        return f"{value:.2e}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def duration(milliseconds: int | float | None) -> str:
    """A span of time, a dash where it is not known."""
    return "–" if milliseconds is None else times.duration(milliseconds)


def moment(time_ms: int) -> datetime | None:
    """The time in UTC; `None` where the calendar ends."""
    try:
        return utc(time_ms)
    except (OverflowError, ValueError, OSError):
        return None


def time(time_ms: int | None, form: str = "%Y-%m-%d %H:%M:%S") -> Markup:
    """A `<time>` element, UTC."""
    at = moment(time_ms) if time_ms is not None else None
    if time_ms is None or at is None:
        return Markup("–")
    return Markup('<time datetime="{}">{}</time>').format(iso(time_ms), at.strftime(form))


def own_text(event: TimelineEvent) -> str:
    """What an event says beside its changes; many say only these, which the page lists anyway."""
    rest = event.text
    for name, change in event.changes.items():
        rest = rest.replace(f"{name}: {change}", "")
    return event.text if rest.strip(" ;.,") else ""


def lasted(incident: Incident) -> str:
    """From the first to the last anomaly; while it is open, until it was last heard of."""
    over = incident.resolved_ms is not None or incident.closed_ms is not None
    end_ms = incident.last_anomaly_ms if over else incident.updated_ms
    return duration(end_ms - incident.first_anomaly_ms)


def words(name: str) -> str:
    """`severity_changed` → `severity changed`."""
    return re.sub(r"[_\s]+", " ", name).strip()


def detail_words(entry: AuditEntry) -> str:
    """What an audit entry adds, in one line."""
    detail: dict[str, Any] = entry.detail
    parts = [str(detail.get("severity") or ""), str(detail.get("text") or "")]
    parts += [f"{words(k)}: {v}" for k, v in (detail.get("changes") or {}).items()]
    return " · ".join(part for part in parts if part)
