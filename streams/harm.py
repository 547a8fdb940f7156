"""What the users of a service feel, read from its signals and counts, as points from 0 to 3."""

from collections.abc import Iterable, Sequence

import msgspec

from detectors.units import failing_side
from schemas.anomalies import AnomalyKind
from schemas.incidents import Signal
from schemas.units import metric_of
from streams.dossier import Count, Dossier, Felt, is_below

RATIO_STEPS = (0.01, 0.05, 0.25)
ERROR_STEPS = (10, 100, 1000)
SLOW_STEPS = (0.5, 2.0)
"""Seconds longer than expected: Apdex's usual target T, after which users are no longer satisfied,
and 4 T, after which they are frustrated."""
LOST_STEPS = (0.5, 0.9)
REPORTED_STEPS = (0.05, 0.25, 0.5)
"""Shares of failing requests as a service reports them itself, without saying of how many."""
SIGNS: frozenset[AnomalyKind] = frozenset(
    (
        "saturation",
        "new_error_template",
        "error_log_rate",
        "error_ratio",
        "silence",
        "code_path",
        "report",
    )
)
"""Kinds that say that something is wrong even where nobody counted the requests that suffer."""

UNFELT = Felt()


class Harm(msgspec.Struct, frozen=True, kw_only=True):
    """What users of one service feel. `slow_seconds` is how much longer than expected requests
    take, `lost_ratio` the share of the expected requests that do not come any more,
    `reported_ratio` the share that fails by the service's own metrics, `sign` a kind of signal
    that is bad news in itself."""

    service: str
    requests: int = 0
    errors: int = 0
    slow_seconds: float = 0.0
    lost_ratio: float = 0.0
    reported_ratio: float = 0.0
    sign: str = ""

    @property
    def error_ratio(self) -> float:
        """Share of the requests that failed while it was out of order."""
        return self.errors / self.requests if self.requests else 0.0

    @property
    def failing_points(self) -> int:
        """0 to 3 for failed requests: a share counts only with a number to go with it."""
        return min(reached(self.error_ratio, RATIO_STEPS), reached(self.errors, ERROR_STEPS))

    @property
    def reported_points(self) -> int:
        """0 to 3 for failing requests that only a ratio tells of."""
        return reached(self.reported_ratio, REPORTED_STEPS)

    @property
    def slow_points(self) -> int:
        """0 to 2 for slow requests."""
        return reached(self.slow_seconds, SLOW_STEPS)

    @property
    def lost_points(self) -> int:
        """0 to 2 for requests that do not come."""
        return reached(self.lost_ratio, LOST_STEPS)

    @property
    def points(self) -> int:
        """The worst of them; at least 1 if there is a sign of trouble."""
        told = max(self.failing_points, self.reported_points)
        return max(told, self.slow_points, self.lost_points, 1 if self.sign else 0)


def harm_of(
    service: str, signals: Iterable[Signal], count: Count | None, before: Felt = UNFELT
) -> Harm:
    """What the users of `service` feel by its own signals, the requests counted meanwhile, and the
    worst that they felt `before`."""
    own = [s for s in signals if s.service == service]
    felt = _worse(before, _felt(own))
    return Harm(
        service=service,
        requests=count.requests if count else 0,
        errors=count.errors if count else 0,
        slow_seconds=felt.slow_seconds,
        lost_ratio=felt.lost_ratio,
        reported_ratio=felt.reported_ratio,
        sign=min((s.kind for s in own if s.kind in SIGNS), default=""),
    )


def harms_of(dossier: Dossier) -> list[Harm]:
    """What the users of each affected service feel, at the worst so far."""
    own = _by_service(dossier)
    return [
        harm_of(name, own.get(name, ()), dossier.counts.get(name), dossier.felt.get(name, UNFELT))
        for name in sorted(dossier.affected())
    ]


def keep_worst(dossier: Dossier) -> None:
    """Writes into the dossier what users of its services felt at the worst.

    A signal has the numbers of the window that was least likely by chance. As evidence comes, that
    may be a milder one than before, and the trouble is no milder for it.
    """
    for service, signals in _by_service(dossier).items():
        dossier.felt[service] = _worse(dossier.felt.get(service, UNFELT), _felt(signals))


def _by_service(dossier: Dossier) -> dict[str, list[Signal]]:
    found: dict[str, list[Signal]] = {}
    for signal in dossier.trusted_signals():
        found.setdefault(signal.service, []).append(signal)
    return found


def _worse(one: Felt, other: Felt) -> Felt:
    return Felt(
        slow_seconds=max(one.slow_seconds, other.slow_seconds),
        lost_ratio=max(one.lost_ratio, other.lost_ratio),
        reported_ratio=max(one.reported_ratio, other.reported_ratio),
    )


def _felt(own: Sequence[Signal]) -> Felt:
    """What one service's signals say that its users feel."""
    slow = [s.value - s.expected for s in own if s.kind in ("latency", "network")]
    lost = [
        1 - s.value / s.expected
        for s in own
        if s.kind == "traffic" and is_below(s) and s.expected > 0
    ]
    return Felt(
        slow_seconds=round(max([0.0, *slow]), 6),
        lost_ratio=round(min(max([0.0, *lost]), 1.0), 6),
        reported_ratio=round(max([0.0, *(failing_share(s) for s in own)]), 6),
    )


def failing_share(signal: Signal) -> float:
    """How much more than expected fails by a ratio that the service reports; 0 if it is none."""
    metric = metric_of(signal.series)
    if signal.kind != "error_ratio" or not metric.endswith("_ratio"):
        return 0.0
    return min(max((signal.value - signal.expected) * failing_side(metric), 0.0), 1.0)


def reached(value: float, steps: Sequence[float]) -> int:
    """How many of the steps the value reaches."""
    return sum(value >= step for step in steps)
