"""Holds incidents against known faults: which were found, how fast, what was false."""

import csv
from collections.abc import Sequence
from datetime import datetime
from statistics import quantiles

import msgspec

from schemas.incidents import Incident, IncidentEvent

WITHIN_SECONDS = 300.0


class Fault(msgspec.Struct, frozen=True):
    """A fault whose time and place are known."""

    at_ms: int
    service: str
    kind: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one fault. `rank` is the culprit's place among the suspected causes, from 1.

    `incidents` are all that were opened in its time, the one that tells it best first; `resumed`
    says that an incident known before came back instead of a new one being opened.
    """

    fault: Fault
    incidents: tuple[str, ...] = ()
    resumed: bool = False
    seconds_to_detect: float | None = None
    rank: int | None = None

    @property
    def is_found(self) -> bool:
        """Whether any incident spoke of it."""
        return self.seconds_to_detect is not None


class Spread(msgspec.Struct, frozen=True):
    """Median and 90th percentile; None if there is nothing to measure."""

    p50: float | None
    p90: float | None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of one recording. `one_each` counts the found faults with one incident only.

    `true_incidents` are those that belong to a listed fault; those of unlisted faults are neither
    true nor false.
    """

    faults: int
    detected: int
    culprit_first: int
    one_each: int
    incidents: int
    true_incidents: int
    false_incidents: int
    seconds_to_detect: Spread


class Accuracy(msgspec.Struct, frozen=True):
    """How well culprits are ranked: AC@k is the share of ranks of at most k.

    Avg@5 is the mean of AC@1 to AC@5, as in Yu et al. (2021), MicroRank. None without ranks.
    """

    ac1: float | None
    ac3: float | None
    avg5: float | None


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """Verdict by fault, the incidents that belong to none, and the summary."""

    verdicts: tuple[Verdict, ...]
    false_incidents: tuple[str, ...]
    summary: Summary


class _Start(msgspec.Struct, frozen=True):
    """A moment at which an incident spoke up: opened, or back again."""

    incident: str
    time_ms: int
    opened: bool


def read_faults(text: str) -> list[Fault]:
    """Reads a `faults.csv` or `unlisted.csv`: the time in its first column, `service`, `kind`.

    Raises `ValueError` naming the line that cannot be read.
    """
    faults = []
    rows = csv.DictReader(text.splitlines())
    for line, row in enumerate(rows, start=2):
        stamp = next(iter(row.values()), None)
        try:
            at = datetime.fromisoformat(str(stamp))
            faults.append(Fault(round(at.timestamp() * 1000), row["service"], row["kind"]))
        except (KeyError, ValueError) as error:
            raise ValueError(
                f"faults, line {line}: {error}; expected a time with zone, service and kind"
            ) from error
    return faults


def score(
    events: Sequence[IncidentEvent],
    faults: Sequence[Fault],
    unlisted: Sequence[Fault] = (),
    within_seconds: float = WITHIN_SECONDS,
) -> Score:
    """Matches incidents with faults.

    An incident belongs to the fault in whose time, [injection, injection + `within_seconds`], it
    was opened or came back; of several, the one whose culprit it suspects, then the latest. One
    that was opened in no fault's time, also not in that of an unlisted one, is false.
    """
    latest = {event.incident_id: event.incident for event in events}
    starts = _starts(events)
    listed, extra = list(faults), list(unlisted)
    given: dict[int, list[_Start]] = {}
    false: list[str] = []
    for start in starts:
        fault = _fault_of(start, listed + extra, latest[start.incident], within_seconds)
        if fault is None:
            if start.opened:
                false.append(start.incident)
        elif fault < len(listed):
            given.setdefault(fault, []).append(start)
    verdicts = [
        _verdict(fault, given.get(number, []), latest) for number, fault in enumerate(listed)
    ]
    return Score(
        verdicts=tuple(verdicts),
        false_incidents=tuple(false),
        summary=summarise(verdicts, len(latest), len(false)),
    )


def _starts(events: Sequence[IncidentEvent]) -> list[_Start]:
    """When incidents were opened or reopened, or said that a signal had come back."""
    starts = []
    for event in events:
        back = event.changes.get("state", "").startswith("monitoring → i")
        again = event.changes.get("signals", "").endswith(" again")
        if event.type in ("opened", "reopened") or back or again:
            starts.append(_Start(event.incident_id, event.time_ms, event.type == "opened"))
    return starts


def _fault_of(
    start: _Start, faults: Sequence[Fault], incident: Incident, within_seconds: float
) -> int | None:
    """The number of the fault in whose time the incident spoke up."""
    near = [
        (fault.service in incident.suspected_causes, fault.at_ms, number)
        for number, fault in enumerate(faults)
        if 0 <= start.time_ms - fault.at_ms <= within_seconds * 1000
        and (start.opened or fault.service in incident.suspected_causes)
    ]
    return max(near)[2] if near else None


def _verdict(fault: Fault, starts: Sequence[_Start], latest: dict[str, Incident]) -> Verdict:
    if not starts:
        return Verdict(fault=fault)
    ranked = sorted(
        starts, key=lambda s: (_rank(fault, latest[s.incident]) or 99, s.time_ms, s.incident)
    )
    best = ranked[0]
    return Verdict(
        fault=fault,
        incidents=tuple(dict.fromkeys(s.incident for s in ranked)),
        resumed=not best.opened,
        seconds_to_detect=(best.time_ms - fault.at_ms) / 1000,
        rank=_rank(fault, latest[best.incident]),
    )


def _rank(fault: Fault, incident: Incident) -> int | None:
    causes = incident.suspected_causes
    return causes.index(fault.service) + 1 if fault.service in causes else None


def summarise(verdicts: Sequence[Verdict], incidents: int, false: int) -> Summary:
    """The numbers over verdicts, also over those of several recordings."""
    found = [v for v in verdicts if v.is_found]
    return Summary(
        faults=len(verdicts),
        detected=len(found),
        culprit_first=sum(v.rank == 1 for v in found),
        one_each=sum(len(v.incidents) == 1 for v in found),
        incidents=incidents,
        true_incidents=len({name for v in found for name in v.incidents}),
        false_incidents=false,
        seconds_to_detect=spread([v.seconds_to_detect or 0.0 for v in found]),
    )


def accuracy(ranks: Sequence[int | None]) -> Accuracy:
    """AC@1, AC@3 and Avg@5 of the culprits' ranks; None is a culprit that was not named at all."""
    if not ranks:
        return Accuracy(None, None, None)
    within = [sum(rank is not None and rank <= k for rank in ranks) / len(ranks) for k in range(6)]
    return Accuracy(round(within[1], 4), round(within[3], 4), round(sum(within[1:]) / 5, 4))


def spread(values: Sequence[float]) -> Spread:
    """Median and 90th percentile, by linear interpolation."""
    if not values:
        return Spread(None, None)
    if len(values) == 1:
        return Spread(values[0], values[0])
    cuts = quantiles(values, n=10, method="inclusive")
    return Spread(round(cuts[4], 3), round(cuts[8], 3))
