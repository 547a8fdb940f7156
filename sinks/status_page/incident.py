"""One incident as the public sees it, and how an incident event changes it. Pure.

Nothing that is not in `PublicIncident` can reach the page: no services, instances, series,
scores, log text or causes are taken over from the incident event.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from schemas.incidents import Incident, IncidentEvent, PublicPhase, Severity
from schemas.oncall import Cadence
from sinks.cadence import promised_ms, with_change
from sinks.status_page import words
from sinks.status_page.components import (
    STATUS_OF_SEVERITY,
    PublicComponent,
    Status,
    touched,
    worst,
)

EDIT_WITHIN_MS = 60_000
"""An update of ours this young is corrected in place, so that the first minute of an incident,
when more is learned every window, is one update and not six."""

MAX_MESSAGE_CHARACTERS = 5_000
DEFAULT_CADENCE = Cadence()

# Controls that XML forbids or terminals obey, halves of surrogate pairs, and marks that turn the
# direction of the text around them, which make a text read otherwise than it is written.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


class Affected(msgspec.Struct, frozen=True):
    """What one update changed about one component."""

    id: str
    name: str
    old: Status
    new: Status


class Update(msgspec.Struct, frozen=True):
    """One public statement. `version` is that of the incident event that it was made from.

    `automatic` says that the words are ours and not a person's. `of` is the incident that it was
    made of, where that is another one than the one that it is shown with. `body` is in English;
    `facts`, `said` and `taken_back_ms` are what it is made of, to say it in other languages: None
    where a person wrote all of it.
    """

    version: int
    phase: PublicPhase
    body: str
    time_ms: int
    edited_ms: int
    affected: tuple[Affected, ...]
    automatic: bool
    of: str = ""
    facts: words.Facts | None = None
    said: words.Said | None = None
    taken_back_ms: int | None = None


class Stretch(msgspec.Struct, frozen=True):
    """The status of each touched component from `from_ms` until the next stretch."""

    from_ms: int
    statuses: dict[str, Status]


class PublicIncident(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything that the page knows of an incident, after the event `id`/`version`.

    `public` is False if the incident is internal, was withdrawn or touches no component; then
    nothing but the version is kept. `ended_ms` is when the trouble ended, which is seen only after
    it has stayed away for a while, at `resolved_ms`. `updates` and `stretches` are in order of
    time. `next_ms` is when the next update is promised, None where none is; `told_ms` when the
    first was made, and `changes_ms` when facts changed lately, by which the promise is made.
    `also` are further incidents for which this one is shown, since they were split or merged.
    """

    id: str
    version: int
    public: bool = False
    name: str = ""
    named: tuple[str, ...] = ()
    severity: Severity = "P4"
    phase: PublicPhase = "investigating"
    started_ms: int = 0
    opened_ms: int = 0
    updated_ms: int = 0
    monitoring_ms: int | None = None
    resolved_ms: int | None = None
    ended_ms: int | None = None
    symptoms: tuple[words.Symptom, ...] = ()
    message: str | None = None
    next_ms: int | None = None
    told_ms: int = 0
    changes_ms: tuple[int, ...] = ()
    split_from: str | None = None
    merged_into: str | None = None
    also: tuple[str, ...] = ()
    stretches: tuple[Stretch, ...] = ()
    updates: tuple[Update, ...] = ()

    @property
    def over_ms(self) -> int | None:
        """Until when it lasted, as messages tell it; None while it is open."""
        return self.resolved_ms if self.ended_ms is None else self.ended_ms

    @property
    def component_ids(self) -> frozenset[str]:
        """Every component that was touched at any time."""
        return frozenset(key for stretch in self.stretches for key in stretch.statuses)

    @property
    def statuses(self) -> dict[str, Status]:
        """The status of each touched component after the last update; empty when resolved."""
        return self.stretches[-1].statuses if self.stretches else {}


def publishable(text: str) -> str:
    """The text without characters that cannot or must not be shown, and of bounded length."""
    return _UNPRINTABLE.sub("", text.replace("\r\n", "\n")).strip()[:MAX_MESSAGE_CHARACTERS]


def publish(
    known: PublicIncident | None,
    event: IncidentEvent,
    components: Sequence[PublicComponent],
    cadence: Cadence = DEFAULT_CADENCE,
    recorded_ms: int = 0,
) -> PublicIncident:
    """The public incident after the event; `known` itself if the event is no newer than it.

    `cadence` is how soon the next update is promised, as messages promise it: from the moment at
    which the event was written to Kafka, `recorded_ms`, also where it is about an earlier time.
    """
    if known is not None and event.version <= known.version:
        return known
    incident = event.incident
    hit = touched(components, incident.services)
    if incident.visibility != "public" or not hit:
        return PublicIncident(id=incident.id, version=event.version)
    if known is None or not known.public:
        known = PublicIncident(id=incident.id, version=0)
    return _revised(known, event, hit, _Promises(cadence, max(event.time_ms, recorded_ms)))


def _revised(
    known: PublicIncident,
    event: IncidentEvent,
    hit: Sequence[PublicComponent],
    promises: "_Promises",
) -> PublicIncident:
    incident = event.incident
    resolved_ms = _resolved_ms(event)
    ended_ms = None if resolved_ms is None else _ended_ms(incident)
    peak: dict[str, Status] = {one.id: STATUS_OF_SEVERITY[incident.severity] for one in hit}
    symptoms = words.symptoms_of(
        [s for s in incident.signals if any(s.service in one.services for one in hit)]
    )
    message = publishable(incident.public_message) if incident.public_message else None
    after = msgspec.structs.replace(
        known,
        version=event.version,
        public=True,
        name=words.title([one.name for one in hit], symptoms, peak[hit[0].id]),
        named=tuple(one.name for one in hit),
        severity=incident.severity,
        phase=incident.public_phase,
        started_ms=incident.first_anomaly_ms,
        opened_ms=incident.opened_ms,
        monitoring_ms=_monitoring_ms(known, event),
        resolved_ms=resolved_ms,
        ended_ms=ended_ms,
        split_from=incident.split_from,
        merged_into=incident.merged_into,
        symptoms=symptoms,
        message=message,
        stretches=_stretches(known.stretches, event, peak, ended_ms),
    )
    said = words.said(event)
    is_said = bool(said) or _worth_saying(known, after, event)
    after = promises.after(known, after, event, is_said=is_said)
    if not is_said:
        return after
    is_message = bool(message) and _is_news(known, message or "", event)
    facts = None if is_message or said else _facts(after, event, hit, worst(peak.values()))
    update = Update(
        version=event.version,
        phase=after.phase,
        body=_body(message if is_message else None, said, facts),
        time_ms=event.time_ms,
        edited_ms=event.time_ms,
        affected=_affected(known, after, hit),
        automatic=facts is not None,
        facts=facts,
        said=None if is_message else said,
    )
    before = known.updates
    if event.type == "retracted":
        before = _withdrawn(before, event.time_ms)
    return msgspec.structs.replace(after, updated_ms=event.time_ms, updates=_with(before, update))


class _Promises(NamedTuple):
    """Makes the promise of the next update, at `now_ms`."""

    cadence: Cadence
    now_ms: int

    def after(
        self, known: PublicIncident, after: PublicIncident, event: IncidentEvent, *, is_said: bool
    ) -> PublicIncident:
        """With the promise that an update makes. Facts that change between updates bring the one
        after the next nearer; the promise that stands is never put off."""
        if after.phase == "resolved":
            return msgspec.structs.replace(after, next_ms=None)
        if not known.updates:
            after = msgspec.structs.replace(after, told_ms=self.now_ms)
        elif event.changes or (is_said and not _says_no_change(event)):
            changes_ms = with_change(after.changes_ms, self.now_ms)
            after = msgspec.structs.replace(after, changes_ms=changes_ms)
        if not is_said:
            return after
        next_ms = promised_ms(
            self.cadence, after.severity, after.told_ms, after.changes_ms, self.now_ms
        )
        return msgspec.structs.replace(after, next_ms=next_ms)


def _says_no_change(event: IncidentEvent) -> bool:
    """Whether nobody but ourselves speaks, to say that nothing has changed."""
    return event.type == "no_change" and event.actor == "tocsin"


def _resolved_ms(event: IncidentEvent) -> int | None:
    if event.incident.public_phase != "resolved":
        return None
    return event.incident.resolved_ms or event.time_ms


def _ended_ms(incident: Incident) -> int:
    return max(incident.first_anomaly_ms, incident.last_anomaly_ms)


def _monitoring_ms(known: PublicIncident, event: IncidentEvent) -> int | None:
    if event.incident.public_phase == "monitoring":
        return known.monitoring_ms or event.time_ms
    return known.monitoring_ms if event.incident.public_phase == "resolved" else None


def _stretches(
    before: tuple[Stretch, ...],
    event: IncidentEvent,
    peak: dict[str, Status],
    ended_ms: int | None,
) -> tuple[Stretch, ...]:
    """Resolved at once or not: what was touched counts from the first anomaly to the last."""
    started_ms = event.incident.first_anomaly_ms
    if not before:
        before = (Stretch(started_ms, peak),)
    first = before[0]
    if started_ms < first.from_ms:
        before = (Stretch(started_ms, first.statuses), *before[1:])
    if ended_ms is not None:
        return _extended(before, ended_ms, {})
    return _extended(before, event.time_ms, peak)


def _extended(
    before: tuple[Stretch, ...], from_ms: int, statuses: dict[str, Status]
) -> tuple[Stretch, ...]:
    if before[-1].statuses == statuses:
        return before
    later = (stretch for stretch in before[1:] if stretch.from_ms < from_ms)
    kept = (before[0], *later)  # the first says what was touched, however short it was
    return (*kept, Stretch(from_ms, statuses))


def _is_news(known: PublicIncident, message: str, event: IncidentEvent) -> bool:
    return event.type == "public_message" or message != known.message


def _worth_saying(known: PublicIncident, after: PublicIncident, event: IncidentEvent) -> bool:
    """A new statement is made when something changed that customers can notice, or was said."""
    if not known.updates or event.type in ("reopened", "retracted", "no_change"):
        return True
    if event.type == "severity_changed" and after.phase != "resolved":
        return True  # messages say it, and with it promise the next update anew
    if after.message and _is_news(known, after.message, event):
        return True
    if after.phase != known.phase:
        return True
    if after.phase == "resolved":
        return False
    return after.statuses != known.statuses or after.symptoms != known.symptoms


def _facts(
    after: PublicIncident,
    event: IncidentEvent,
    hit: Sequence[PublicComponent],
    status: Status,
) -> words.Facts:
    return words.Facts(
        phase=after.phase,
        components=tuple(one.name for one in hit),
        status=status,
        symptoms=after.symptoms,
        started_ms=after.started_ms,
        ended_ms=after.over_ms,
        time_ms=event.time_ms,
        next_ms=after.next_ms,
        again=event.type == "reopened",
    )


def _body(message: str | None, said: words.Said | None, facts: words.Facts | None) -> str:
    """The statement in English: a person's message, else what they said, else ours."""
    if facts is not None:
        return words.body(facts)
    return message or publishable(words.said_by_person(said) if said is not None else "")


def _with(updates: tuple[Update, ...], update: Update) -> tuple[Update, ...]:
    last = updates[-1] if updates else None
    if last is None or not _corrects(last, update):
        return (*updates, update)
    old = {one.id: one.old for one in last.affected}
    corrected = msgspec.structs.replace(
        update,
        version=last.version,
        time_ms=last.time_ms,
        affected=tuple(
            msgspec.structs.replace(one, old=old.get(one.id, one.old)) for one in update.affected
        ),
    )
    return (*updates[:-1], corrected)


def _withdrawn(updates: tuple[Update, ...], time_ms: int) -> tuple[Update, ...]:
    """The last words of a person are taken back: that something was said, and when, stays."""
    for place in range(len(updates) - 1, -1, -1):
        if not updates[place].automatic:
            taken_back = msgspec.structs.replace(
                updates[place],
                body=words.withdrawn(time_ms),
                said=None,
                taken_back_ms=time_ms,
                edited_ms=time_ms,
            )
            return (*updates[:place], taken_back, *updates[place + 1 :])
    return updates


def _corrects(last: Update, update: Update) -> bool:
    return (
        last.automatic
        and update.automatic
        and last.phase == update.phase
        and update.time_ms - last.time_ms < EDIT_WITHIN_MS
    )


def _affected(
    known: PublicIncident, after: PublicIncident, hit: Sequence[PublicComponent]
) -> tuple[Affected, ...]:
    old, new = known.statuses, after.statuses
    if not known.updates and after.phase == "resolved":
        old = after.stretches[0].statuses
    return tuple(
        Affected(one.id, one.name, old.get(one.id, "operational"), new.get(one.id, "operational"))
        for one in hit
    )
