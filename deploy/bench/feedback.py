"""`tocsin bench feedback`: what people's feedback is worth, by replay of recorded systems.

Every false incident of one half of a recording is said to be none, every fault of that half that
was not found is said to be missed; the other half shows how many false incidents that spares, and
how many faults are found more or less. Then the other way round. A good configuration has few
false incidents to learn from, so that is done too as if it were more eager to open them.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal

import msgspec
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from deploy.bench.answer import write_json
from deploy.bench.faults_recordings import RecordingError
from deploy.bench.feedback_corpus import Replayed, replayed
from deploy.commands.replay import CallsFileError, runs
from deploy.configuration import load
from deploy.console import new_console
from deploy.demo import RECORDING
from schemas.anomalies import Anomaly, AnomalyBatch
from schemas.configuration import Configuration
from schemas.incidents import Command, IncidentEvent
from schemas.reading import said
from streams.files import EventFileError
from streams.graph import with_calls
from streams.incidents import IncidentStage
from streams.pipeline import Pipeline
from streams.scoring import Fault, Score, score


class Eagerness(msgspec.Struct, frozen=True, order=True):
    """How much readier to open an incident than the configuration: thresholds lowered by so much,
    and evidence that is not confirmed taken for enough."""

    lowered_by: float
    unconfirmed: bool = False


EAGERNESS = (Eagerness(0.0), Eagerness(2.0), Eagerness(0.0, True), Eagerness(2.0, True))
Half = Literal["first", "second"]
Batches = Sequence[AnomalyBatch]
MOST_ROWS = 100
"""Of more measurements only the totals are printed."""
DIRECTIONS: tuple[tuple[Half, Half], ...] = (("first", "second"), ("second", "first"))


class Outcome(msgspec.Struct, frozen=True):
    """What the measured half had: incidents that tell no fault, and faults that were found."""

    false_incidents: int
    found: int


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement: what was learned from which half, and the other half without and with it.

    `with_false_alarms` has learned from the false incidents alone, `with_both` also from the
    faults that were missed.
    """

    recording: str
    learned_on: Half
    eagerness: Eagerness
    faults: int
    false_alarms_told: int
    missed_told: int
    without: Outcome
    with_false_alarms: Outcome
    with_both: Outcome


class Total(msgspec.Struct, frozen=True, kw_only=True):
    """All rows of one eagerness put together; None where there is nothing to divide by."""

    eagerness: Eagerness
    false_without: int
    false_with_false_alarms: int
    false_with_both: int
    false_alarms_gone_ratio: float | None
    recall_without: float | None
    recall_with_false_alarms: float | None
    recall_with_both: float | None


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` writes."""

    rows: tuple[Row, ...]
    totals: tuple[Total, ...]


def main(folders: Sequence[Path], *, config: Path | None = None, json: Path | None = None) -> int:
    """Replays, prints and writes `json`. Returns 0, or 2 if a recording cannot be read."""
    try:
        configuration = load(config)
        found = [r for folder in folders or [RECORDING] for r in replayed(folder)]
        result = run(found, configuration)
    except (RecordingError, EventFileError, CallsFileError, OSError, ValueError) as error:
        print(f"tocsin bench feedback: {said(error)}", file=sys.stderr)
        return 2
    show(new_console(), result)
    write_json(json, result)
    return 0


def run(found: Sequence[Replayed], configuration: Configuration) -> Result:
    """Measures every recording. Raises `EventFileError`."""
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    rows: list[Row] = []
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("")
        for recording in found:

            def progress(events: int, name: str = recording.name) -> None:
                bar.update(task, description=f"{name}: {events:,} events")

            rows += Trial(recording, configuration, progress).rows(EAGERNESS)
    return Result(rows=tuple(rows), totals=tuple(_total(rows, one) for one in EAGERNESS))


class Trial:
    """Detection of one recording, once; then its incidents as often as needed."""

    def __init__(
        self,
        recording: Replayed,
        configuration: Configuration,
        progress: Callable[[int], None],
    ) -> None:
        catalogue = with_calls(configuration.catalogue, recording.calls)
        self._configuration = msgspec.structs.replace(configuration, catalogue=catalogue)
        self._recording = recording
        detected = self._detect(progress)
        ends = [batch.window_end_ms for batch in detected if batch.anomalies]
        self._middle_ms = middle_ms(recording.faults, ends)
        first = [b for b in detected if b.window_end_ms <= self._middle_ms]
        self._halves: dict[Half, Batches] = {
            "first": first + self._progress(),
            "second": [b for b in detected if b.window_end_ms > self._middle_ms],
        }

    def _detect(self, progress: Callable[[int], None]) -> list[AnomalyBatch]:
        pipeline, found, count = Pipeline(self._configuration), [], 0
        for run in runs(self._recording.lines()):
            found += pipeline.process(run).anomalies
            count += len(run)
            progress(count)
        return found + pipeline.finish().anomalies

    def _shards(self) -> list[str]:
        shards = self._configuration.topics.observation_shards
        return [f"shard/{shard}" for shard in range(shards)]

    def _progress(self) -> list[AnomalyBatch]:
        """Says of every shard that the first half is complete."""
        window_ms = round(self._configuration.windows.window_seconds * 1000)
        end_ms = self._middle_ms // window_ms * window_ms
        return [AnomalyBatch(shard, end_ms) for shard in self._shards()]

    def rows(self, degrees: Iterable[Eagerness]) -> list[Row]:
        """Both directions of each eagerness."""
        return [
            self._row(eagerness, learned, measured)
            for eagerness in degrees
            for learned, measured in DIRECTIONS
        ]

    def _row(self, eagerness: Eagerness, learned: Half, measured: Half) -> Row:
        before = [eager(batch, eagerness) for batch in self._halves[learned]]
        after = [eager(batch, eagerness) for batch in self._halves[measured]]
        lesson = self._score(self._stage().process(before), learned)
        calls = _called_off(lesson)
        missed = _missed(lesson, self._recording.within_seconds)
        in_order = learned == "first"

        def outcome(commands: Sequence[Command]) -> Outcome:
            teacher = self._stage()
            teacher.process(before)
            teacher.command(commands)
            pupil = teacher if in_order else self._stage()
            if not in_order:
                pupil.take_feedback(teacher, after[0].window_end_ms if after else 0)
            told = self._score(pupil.process(after), measured)
            return Outcome(told.summary.false_incidents, told.summary.detected)

        return Row(
            recording=self._recording.name,
            learned_on=learned,
            eagerness=eagerness,
            faults=len(self._faults(measured)),
            false_alarms_told=len(calls),
            missed_told=len(missed),
            without=outcome(()),
            with_false_alarms=outcome(calls),
            with_both=outcome([*calls, *missed]),
        )

    def _stage(self) -> IncidentStage:
        configuration = self._configuration
        return IncidentStage(
            configuration.environment,
            self._shards(),
            configuration.windows,
            configuration.incidents,
            configuration.catalogue,
        )

    def _faults(self, half: Half) -> list[Fault]:
        is_first = half == "first"
        return [f for f in self._recording.faults if (f.at_ms <= self._middle_ms) == is_first]

    def _score(self, events: Sequence[IncidentEvent], half: Half) -> Score:
        recording = self._recording
        return score(events, self._faults(half), recording.unlisted, recording.within_seconds)


def middle_ms(faults: Sequence[Fault], ends_ms: Sequence[int]) -> int:
    """Between the two faults in the middle, so that both halves have about as many.

    Of fewer than four faults, the middle of the time in which anything stood out.
    """
    times = sorted(fault.at_ms for fault in faults)
    after = len(times) // 2
    if len(times) >= 4:
        return (times[after - 1] + times[after]) // 2
    return (min(ends_ms, default=0) + max(ends_ms, default=0)) // 2


def eager(batch: AnomalyBatch, eagerness: Eagerness) -> AnomalyBatch:
    """The batch as detection would say it, were it so eager."""
    anomalies = tuple(_eager(anomaly, eagerness) for anomaly in batch.anomalies)
    return msgspec.structs.replace(batch, anomalies=anomalies)


def _eager(anomaly: Anomaly, eagerness: Eagerness) -> Anomaly:
    if not anomaly.threshold or anomaly.kind in ("novelty", "forecast"):
        return anomaly
    threshold = anomaly.threshold - eagerness.lowered_by
    confirmed = anomaly.confirmed or eagerness.unconfirmed
    opens = anomaly.opens or (confirmed and anomaly.score >= threshold)
    return msgspec.structs.replace(anomaly, threshold=threshold, confirmed=confirmed, opens=opens)


def _called_off(lesson: Score) -> list[Command]:
    return [
        Command(
            id=f"called-off-{name}",
            type="not_an_incident",
            incident_id=name,
            actor="bench",
            issued_ms=0,
        )
        for name in lesson.false_incidents
    ]


def _missed(lesson: Score, within_seconds: float) -> list[Command]:
    return [
        Command(
            id=f"missed-{number}",
            type="missed",
            incident_id="",
            actor="bench",
            issued_ms=0,
            service=verdict.fault.service,
            from_ms=verdict.fault.at_ms,
            to_ms=verdict.fault.at_ms + round(within_seconds * 1000),
        )
        for number, verdict in enumerate(lesson.verdicts)
        if not verdict.is_found
    ]


def _total(rows: Sequence[Row], eagerness: Eagerness) -> Total:
    rows = [row for row in rows if row.eagerness == eagerness]
    faults = sum(row.faults for row in rows)
    false = [sum(o.false_incidents for o in each) for each in _outcomes(rows)]
    found = [sum(o.found for o in each) for each in _outcomes(rows)]
    recall = [round(count / faults, 4) if faults else None for count in found]
    gone = round(1 - false[1] / false[0], 4) if false[0] else None
    return Total(
        eagerness=eagerness,
        false_without=false[0],
        false_with_false_alarms=false[1],
        false_with_both=false[2],
        false_alarms_gone_ratio=gone,
        recall_without=recall[0],
        recall_with_false_alarms=recall[1],
        recall_with_both=recall[2],
    )


def _outcomes(rows: Sequence[Row]) -> tuple[list[Outcome], list[Outcome], list[Outcome]]:
    return (
        [row.without for row in rows],
        [row.with_false_alarms for row in rows],
        [row.with_both for row in rows],
    )


def show(console: Console, result: Result) -> None:
    """A table of all measurements, and what they come to."""
    table = Table(title="What one half taught, measured on the other", title_justify="left")
    for column in ("recording", "learned on", "opens", "told: false, missed"):
        table.add_column(column)
    for column in ("without", "false alarms told", "missed told too"):
        table.add_column(f"{column}:\nfalse, found", justify="right")
    for row in result.rows:
        table.add_row(
            row.recording,
            f"{row.learned_on} half",
            opening(row.eagerness),
            f"{row.false_alarms_told}, {row.missed_told}",
            *(
                f"{o.false_incidents}, {o.found} of {row.faults}"
                for o in (row.without, row.with_false_alarms, row.with_both)
            ),
        )
    if len(result.rows) <= MOST_ROWS:
        console.print(table)
    for total in result.totals:
        console.print(_words(total))


def opening(eagerness: Eagerness) -> str:
    """From when incidents are opened, in words."""
    if eagerness == EAGERNESS[0]:
        return "as configured"
    lower = f"from {eagerness.lowered_by:g} lower" if eagerness.lowered_by else ""
    return ", ".join(filter(None, (lower, "unconfirmed" if eagerness.unconfirmed else "")))


def _words(total: Total) -> str:
    def percent(ratio: float | None) -> str:
        return "none" if ratio is None else f"{ratio:.0%}"

    return (
        f"{opening(total.eagerness)}: false incidents {total.false_without} → "
        f"{total.false_with_false_alarms} ({percent(total.false_alarms_gone_ratio)} gone), recall "
        f"{percent(total.recall_without)} → {percent(total.recall_with_false_alarms)}; with what "
        f"was missed told too: {total.false_with_both} false, "
        f"recall {percent(total.recall_with_both)}"
    )
