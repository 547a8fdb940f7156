"""How others would rank the culprit, given the same values and, unlike ours, the fault's time."""

from array import array
from collections.abc import Mapping, Sequence
from statistics import median, pstdev

from deploy.bench.faults_values import values
from schemas.observations import ObservationBatch
from streams.graph import ServiceGraph
from streams.merge import merge

NORMAL_SAMPLES = 120
"""Samples before the fault that a series is held against."""

LEAST_NORMAL = 4
"""Samples without which nothing can be said of a series."""

HIGHEST = 1e6
"""No deviation counts as more."""

DAMPING = 0.85
STEPS = 100


class History:
    """All values of a recording, by series, so that a stretch of time can be looked at again."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, str], tuple[array[int], array[float]]] = {}

    def take(self, batches: Sequence[ObservationBatch]) -> None:
        """Adds what ingest gave."""
        for batch in batches:
            for value in values(merge(batch.observations)):
                key = (value.service, value.name)
                if key not in self._series:
                    self._series[key] = (array("q"), array("d"))
                times, numbers = self._series[key]
                times.append(batch.window_end_ms)
                numbers.append(value.value)

    def deviations(self, from_ms: int, until_ms: int) -> dict[str, float]:
        """By service, how far its furthest series went from its own median, in robust scales.

        BARO (Pham, Ha, Zhang 2024, FSE): each value in (from, until] less the median before, over
        the interquartile range before; the largest counts. Where that range is nothing, BARO would
        take 1 of whatever unit; here it is the standard deviation, or else a tenth of the median.
        """
        found: dict[str, float] = {}
        for (service, _), (times, numbers) in sorted(self._series.items()):
            before = [v for t, v in zip(times, numbers, strict=True) if t <= from_ms]
            after = [v for t, v in zip(times, numbers, strict=True) if from_ms < t <= until_ms]
            before = before[-NORMAL_SAMPLES:]
            away = _furthest(before, after) if len(before) >= LEAST_NORMAL and after else 0.0
            found[service] = max(found.get(service, 0.0), away)
        return found


def _furthest(before: Sequence[float], after: Sequence[float]) -> float:
    middle = median(before)
    ordered = sorted(before)
    scale = ordered[3 * len(ordered) // 4] - ordered[len(ordered) // 4]
    scale = scale or pstdev(before) or 0.1 * abs(middle) or 1.0
    return min(max(abs(value - middle) for value in after) / scale, HIGHEST)


def robust_scaling(deviations: Mapping[str, float]) -> list[str]:
    """Services by their furthest deviation alone (BARO)."""
    return sorted(deviations, key=lambda name: (-deviations[name], name))


def random_walk(deviations: Mapping[str, float], graph: ServiceGraph) -> list[str]:
    """Services by how often a walk on the graph comes to them, drawn by deviations.

    Personalised PageRank as in MicroRCA (Wu et al. 2020, NOMS): from a caller to its callees, by
    their deviations; back to a caller a little; staying where it is worse than around. It starts
    anew anywhere, by the deviations.
    """
    names = sorted(deviations)
    strength = {name: 1e-3 + deviations[name] ** 0.5 for name in names}
    total = sum(strength.values())
    start = {name: strength[name] / total for name in names}
    steps = {name: _steps(name, strength, graph) for name in names}
    rank = dict(start)
    for _ in range(STEPS):
        after = {name: (1 - DAMPING) * start[name] for name in names}
        for name in names:
            for other, share in steps[name].items():
                after[other] += DAMPING * rank[name] * share
        rank = after
    return sorted(names, key=lambda name: (-rank[name], name))


def _steps(name: str, strength: Mapping[str, float], graph: ServiceGraph) -> dict[str, float]:
    """Where a walk goes from a service, and with which probability."""
    weights = {callee: strength[callee] for callee in graph.callees(name) if callee in strength}
    around = max(weights.values(), default=0.0)
    for caller in graph.callers(name):
        if caller in strength:
            weights[caller] = weights.get(caller, 0.0) + 0.2 * strength[caller]
    weights[name] = max(strength[name] - around, 1e-6)
    total = sum(weights.values())
    return {other: weight / total for other, weight in weights.items()}
