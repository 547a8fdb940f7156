"""What the demo found, against the faults that are known to be in the recording."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deploy.commands.replay import read_truth
from deploy.demo.feed import Feeder
from deploy.demo.watch import Seen
from schemas.incidents import Incident
from schemas.times import clock
from streams.scoring import Fault, Score, Spread, Verdict, score, spread

COLUMNS = ("injected", "service", "kind", "found by", "to detect", "to tell", "suspect")


@dataclass(frozen=True)
class Summary:
    """The demo's result. `communicate` has seconds from injection to the first message, by fault.

    Seconds to detect are event time, injection to the incident's opening. Seconds to communicate
    add what it then took by the wall clock, from sending the record that closed the window to the
    message's delivery: the replay runs faster than the recording, the pipeline does not.
    """

    score: Score
    incidents: dict[str, Incident]
    communicate: dict[int, float]
    events: int
    dead_letters: int

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        summary = self.score.summary
        return {
            "faults": summary.faults,
            "detected": summary.detected,
            "incidents": summary.incidents,
            "false_incidents": summary.false_incidents,
            "seconds_to_detect": msgspec.to_builtins(summary.seconds_to_detect),
            "seconds_to_communicate": msgspec.to_builtins(self._seconds_to_communicate),
            "events": self.events,
            "dead_letters": self.dead_letters,
        }

    def print(self, console: Console) -> None:
        """A table by fault, and the sums below it."""
        table = Table(title="Injected faults", title_justify="left")
        for column in COLUMNS:
            table.add_column(column, overflow="fold")
        for index, verdict in enumerate(self.score.verdicts):
            table.add_row(*self._row(index, verdict))
        summary = self.score.summary
        console.print()
        console.print(table)
        console.print(
            f"{summary.detected} of {summary.faults} faults detected, "
            f"{summary.culprit_first} with the culprit first; {summary.incidents} incidents, "
            f"{summary.false_incidents} of them false\n"
            f"seconds to detect       {_spread(summary.seconds_to_detect)}\n"
            f"seconds to communicate  {_spread(self._seconds_to_communicate)}\n"
            f"{self.events} events, {self.dead_letters} dead letters"
        )
        for incident_id in self.score.false_incidents:
            console.print(f"false: {incident_id} {escape(self.incidents[incident_id].title)}")

    @property
    def _seconds_to_communicate(self) -> Spread:
        return spread(list(self.communicate.values()))

    def _row(self, index: int, verdict: Verdict) -> list[str]:
        fault = verdict.fault
        row = [clock(fault.at_ms), fault.service, fault.kind]
        if verdict.seconds_to_detect is None:
            return [*row, "missed", "", "", ""]
        told = self.communicate.get(index)
        return [
            *row,
            ", ".join(verdict.incidents),
            f"{verdict.seconds_to_detect:.0f} s",
            "" if told is None else f"{told:.1f} s",
            "" if verdict.rank is None else f"no. {verdict.rank}",
        ]


def _spread(values: Spread) -> str:
    if values.p50 is None or values.p90 is None:
        return "none"
    return f"half within {values.p50:.1f}, nine in ten within {values.p90:.1f}"


def summarise(recording: Path, feeder: Feeder, seen: Seen) -> Summary:
    """Holds what was seen against the recording's faults.csv and unlisted.csv."""
    events = sorted(seen.events.values(), key=lambda e: (e.time_ms, e.incident_id, e.version))
    faults, unlisted = read_truth(recording / "faults.csv")
    shift_ms = feeder.feed.shift_ms
    result = score(events, _shifted(faults, shift_ms), _shifted(unlisted, shift_ms))
    return Summary(
        score=result,
        incidents=seen.incidents,
        communicate={
            index: seconds
            for index, verdict in enumerate(result.verdicts)
            if (seconds := _seconds_to_communicate(verdict, feeder, seen)) is not None
        },
        events=feeder.events,
        dead_letters=seen.dead_letters,
    )


def _shifted(faults: list[Fault], shift_ms: int) -> list[Fault]:
    """The faults at the times at which the demo replayed them."""
    return [msgspec.structs.replace(fault, at_ms=fault.at_ms + shift_ms) for fault in faults]


def _seconds_to_communicate(verdict: Verdict, feeder: Feeder, seen: Seen) -> float | None:
    if verdict.seconds_to_detect is None:
        return None
    spoken_ms = verdict.fault.at_ms + round(verdict.seconds_to_detect * 1000)
    fed_at = feeder.sent_at(spoken_ms)
    sent = [
        delivery.time_ms / 1000
        for delivery in seen.deliveries.values()
        if delivery.incident_id == verdict.incidents[0] and delivery.status == "sent"
    ]
    if fed_at is None or not sent:
        return None
    return round(verdict.seconds_to_detect + max(0.0, min(sent) - fed_at), 3)
