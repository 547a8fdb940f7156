"""What `tocsin bench faults --json` writes. Keys are stable; what is new is added beside them."""

from collections.abc import Sequence

import msgspec

from streams.scoring import Accuracy, Spread, Summary, Verdict, accuracy, summarise


class Detection(msgspec.Struct, frozen=True, kw_only=True):
    """How well faults were found.

    `recall` is detected / faults; `precision` the incidents that belong to a fault / those and the
    false ones; `one_incident_ratio` the share of detected faults with exactly one incident. A ratio
    of nothing is None. False incidents are counted over `days` of recording.
    """

    faults: int
    detected: int
    recall: float | None
    incidents: int
    false_incidents: int
    false_incidents_a_day: float | None
    precision: float | None
    one_incident_ratio: float | None
    seconds_to_detect: Spread


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """The signal that told a fault when it was detected."""

    kind: str
    service: str
    series: str
    score: float


class FaultResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one fault. `rank` is the culprit's place among `suspected_causes`, from 1.

    `baseline_seconds` has by rule the seconds to detect, None where it was missed;
    `baseline_ranks` by method the culprit's place, for detected faults.
    """

    recording: str
    injected_at: str
    service: str
    kind: str
    detected: bool
    seconds_to_detect: float | None = None
    signal: Shown | None = None
    incidents: tuple[str, ...] = ()
    resumed: bool = False
    rank: int | None = None
    suspected_causes: tuple[str, ...] = ()
    baseline_seconds: dict[str, float | None] = {}
    baseline_ranks: dict[str, int | None] = {}


class Varied(msgspec.Struct, frozen=True, kw_only=True):
    """What came of the same recordings varied.

    `lost` are the faults that were found as recorded and not here, `gained` those of the opposite.
    """

    name: str
    days: float
    detection: Detection
    causes: Accuracy
    lost: tuple[str, ...]
    gained: tuple[str, ...]
    false_incidents: tuple[str, ...]


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """The whole result. `false_incidents` are the titles of ours; `kinds` detected of faults.

    `dead_letters` are those of the `records` that could not be used. `variations` are empty unless
    they were asked for.
    """

    recording: str
    days: float
    records: int
    dead_letters: int
    faults: tuple[FaultResult, ...]
    false_incidents: tuple[str, ...]
    kinds: dict[str, tuple[int, int]]
    detection: dict[str, Detection]
    causes: dict[str, Accuracy]
    variations: tuple[Varied, ...] = ()
    schema_version: int = 1


def detection(verdicts: Sequence[Verdict], incidents: int, false: int, days: float) -> Detection:
    """The ratios of a summary over verdicts."""
    summary: Summary = summarise(verdicts, incidents, false)
    return Detection(
        faults=summary.faults,
        detected=summary.detected,
        recall=_ratio(summary.detected, summary.faults),
        incidents=incidents,
        false_incidents=false,
        false_incidents_a_day=_ratio(false, days),
        precision=_ratio(summary.true_incidents, summary.true_incidents + false),
        one_incident_ratio=_ratio(summary.one_each, summary.detected),
        seconds_to_detect=summary.seconds_to_detect,
    )


def causes(faults: Sequence[FaultResult]) -> dict[str, Accuracy]:
    """Ours and the baselines' accuracy over the same faults: those that ours detected."""
    found = [fault for fault in faults if fault.detected]
    methods = sorted({name for fault in found for name in fault.baseline_ranks})
    return {
        "tocsin": accuracy([fault.rank for fault in found]),
        **{name: accuracy([f.baseline_ranks[name] for f in found]) for name in methods},
    }


def held_to(recorded: Faults, result: Faults) -> Varied:
    """What came of a variation that holds the last of the faults, or all, in the same order."""
    was, now = recorded.faults[len(recorded.faults) - len(result.faults) :], result.faults
    pairs = list(zip(was, now, strict=True))
    return Varied(
        name=result.recording,
        days=result.days,
        detection=result.detection["tocsin"],
        causes=result.causes["tocsin"],
        lost=tuple(_named(one) for one, other in pairs if one.detected and not other.detected),
        gained=tuple(_named(one) for one, other in pairs if other.detected and not one.detected),
        false_incidents=result.false_incidents,
    )


def _named(fault: FaultResult) -> str:
    return f"{fault.recording} {fault.injected_at[:19]} {fault.service} {fault.kind}"


def kinds(faults: Sequence[FaultResult]) -> dict[str, tuple[int, int]]:
    """By kind of fault, how many were detected, and how many there were."""
    names = sorted({fault.kind for fault in faults})
    return {
        name: (
            sum(fault.detected for fault in faults if fault.kind == name),
            sum(fault.kind == name for fault in faults),
        )
        for name in names
    }


def _ratio(part: float, whole: float) -> float | None:
    return round(part / whole, 4) if whole else None
