"""Replays one recording through the pure core, and the baselines on what ingest gave."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from deploy.bench.faults_baselines import RULES, Baseline
from deploy.bench.faults_recordings import Recording
from deploy.bench.faults_result import FaultResult, Shown
from deploy.bench.faults_suspects import History, random_walk, robust_scaling
from deploy.commands.replay import runs
from schemas.configuration import Configuration
from schemas.incidents import Incident, IncidentEvent
from schemas.times import DAY_MS, iso
from streams.graph import ServiceGraph, with_calls
from streams.pipeline import Passed, Pipeline
from streams.scoring import Fault, Score, Verdict, score
from streams.words import telling

OURS = "tocsin"


@dataclass(slots=True)
class Replayed:
    """What one recording gave: the scores of all, and each fault's result."""

    days: float
    records: int
    dead_letters: int
    scores: dict[str, Score]
    faults: list[FaultResult] = field(default_factory=list)
    false_incidents: list[str] = field(default_factory=list)


def replay(
    recording: Recording,
    configuration: Configuration,
    progress: Callable[[int], None],
    *,
    alone: bool = False,
) -> Replayed:
    """Runs a recording; `progress` is told how many more events were read.

    `alone` leaves the baselines out, which take as long as all the rest.

    Raises `EventFileError`.
    """
    catalogue = with_calls(configuration.catalogue, recording.calls)
    configuration = msgspec.structs.replace(configuration, catalogue=catalogue)
    pipeline = Pipeline(configuration)
    rules = {} if alone else RULES
    baselines = {name: Baseline(rule, configuration) for name, rule in rules.items()}
    history = History()
    ends_ms: list[int] = []
    logs: dict[str, list[IncidentEvent]] = {name: [] for name in (OURS, *baselines)}
    records = dead_letters = 0

    def take(passed: Passed) -> None:
        nonlocal dead_letters
        dead_letters += len(passed.dead_letters)
        logs[OURS] += passed.events
        ends_ms.extend(b.window_end_ms for b in passed.observations if b.observations)
        if not alone:
            history.take(passed.observations)
        for name, baseline in baselines.items():
            logs[name] += baseline.take(passed.observations)

    for run in runs(recording.lines()):
        take(pipeline.process(run))
        records += len(run)
        progress(len(run))
    take(pipeline.finish())
    scores = {name: _score(log, recording) for name, log in logs.items()}
    days = (max(ends_ms) - min(ends_ms)) / DAY_MS if ends_ms else 0.0
    done = Replayed(days, records, dead_letters, scores)
    graph = ServiceGraph(catalogue)
    for number, verdict in enumerate(scores[OURS].verdicts):
        others = {name: scores[name].verdicts[number] for name in baselines}
        fault = _fault(recording.name, verdict, logs[OURS], others)
        if fault.detected and not alone:
            ranks = _ranks(verdict.fault, recording.within_seconds, history, graph)
            fault = msgspec.structs.replace(fault, baseline_ranks=ranks)
        done.faults.append(fault)
    done.false_incidents = _titles(logs[OURS], scores[OURS].false_incidents)
    return done


def _score(log: Sequence[IncidentEvent], recording: Recording) -> Score:
    return score(log, recording.faults, recording.unlisted, recording.within_seconds)


def _ranks(
    fault: Fault, seconds: float, history: History, graph: ServiceGraph
) -> dict[str, int | None]:
    """Where each baseline puts the culprit, having seen the fault for so many seconds."""
    deviations = history.deviations(fault.at_ms, fault.at_ms + round(seconds * 1000))
    orders = {
        "robust_scaling": robust_scaling(deviations),
        "random_walk": random_walk(deviations, graph),
    }
    return {
        name: order.index(fault.service) + 1 if fault.service in order else None
        for name, order in orders.items()
    }


def _fault(
    recording: str,
    verdict: Verdict,
    log: Sequence[IncidentEvent],
    others: dict[str, Verdict],
) -> FaultResult:
    fault = verdict.fault
    result = FaultResult(
        recording=recording,
        injected_at=iso(fault.at_ms),
        service=fault.service,
        kind=fault.kind,
        detected=verdict.is_found,
        baseline_seconds={name: other.seconds_to_detect for name, other in others.items()},
    )
    if verdict.seconds_to_detect is None:
        return result
    own = [event for event in log if event.incident_id == verdict.incidents[0]]
    detected_ms = fault.at_ms + round(verdict.seconds_to_detect * 1000)
    then = next(event.incident for event in own if event.time_ms == detected_ms)
    return msgspec.structs.replace(
        result,
        seconds_to_detect=verdict.seconds_to_detect,
        signal=_shown(then),
        incidents=verdict.incidents,
        resumed=verdict.resumed,
        rank=verdict.rank,
        suspected_causes=own[-1].incident.suspected_causes,
    )


def _shown(incident: Incident) -> Shown | None:
    """The signal that told most of what went on when the incident was last anomalous."""
    current = [s for s in incident.signals if s.last_ms >= incident.last_anomaly_ms]
    if not current and not incident.signals:
        return None
    signal = telling(current or incident.signals)
    return Shown(kind=signal.kind, service=signal.service, series=signal.series, score=signal.score)


def _titles(log: Sequence[IncidentEvent], names: Sequence[str]) -> list[str]:
    latest = {event.incident_id: event.incident for event in log}
    return [f"{iso(latest[n].opened_ms)} {n} {latest[n].title}" for n in names]
