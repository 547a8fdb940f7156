"""What a sign says of the service that it is seen on."""

from collections.abc import Iterable, Mapping

from detectors.units import failing_side
from schemas.anomalies import Anomaly, AnomalyKind
from schemas.incidents import Signal
from schemas.units import metric_of, split_unit
from streams.dossier import VAGUE

OWN: Mapping[AnomalyKind, float] = {
    "saturation": 2.5,
    "network": 1.5,
    "new_error_template": 1.2,
    "code_path": 1.0,
    "report": 0.4,
    "latency": 0.8,
    "error_ratio": 0.8,
    "error_log_rate": 0.6,
    "forecast": 0.5,
    "level": 0.4,
    "silence": 0.4,
    "traffic": 0.2,
    "novelty": 0.2,
}
"""How much a kind of signal, seen on a service, points at that very service. A resource at its
limit is there and nowhere else; slowness and errors are passed on by whoever calls."""

CARRIED: frozenset[AnomalyKind] = frozenset(
    ("latency", "network", "error_ratio", "new_error_template", "error_log_rate", "code_path")
)
"""Kinds that a failing callee hands up to its callers."""

TELLS_NOTHING: frozenset[AnomalyKind] = frozenset(("traffic", "novelty", "report", "forecast"))
"""Kinds that may be there because of others' trouble or with none at all: they explain nobody."""

TIMES = ("latency", "duration", "response_time", "elapsed")
AMOUNTS = ("requests", "invocations", "hits")
"""Words in names of gauges that tell how long requests take, and how many there are."""

FEW_REQUESTS = 10.0
"""Requests that are too few to tell anything by, however unlikely that is: what one user does in
a minute."""

FULL_SCORE = 30.0
"""-log10 tail probability from which being further out says no more."""


def meaning(signal: Signal) -> AnomalyKind:
    """What a signal tells of its service: its kind, or what a gauge's name says that it measures.

    A gauge of latencies that is too high tells the same as slow requests do; fewer or more requests
    are traffic, however they are counted, and so is what has less to do and is faster for it.
    """
    if signal.kind != "level":
        return signal.kind
    name = metric_of(signal.series)
    if any(word in name for word in TIMES):
        return "latency" if signal.value > signal.expected else "traffic"
    return "traffic" if any(word in name for word in AMOUNTS) else "level"


def is_vague(item: Anomaly | Signal) -> bool:
    """Whether it says that something is unusual rather than what is wrong.

    A share of failures that a service reports is as vague as any gauge: it may be of few requests.
    """
    return item.kind in VAGUE or failing_side(metric_of(item.series)) != 0


def counts_requests(series: str) -> bool:
    """Whether it is a gauge of how many requests there were in some time: not how many a second."""
    metric = metric_of(series)
    name, unit = split_unit(metric)
    return not unit and "rate" not in name and any(word in name for word in AMOUNTS)


def is_of_few(item: Anomaly | Signal, own: Iterable[Anomaly | Signal] = ()) -> bool:
    """Whether it tells of a handful of requests only: so many more or fewer than expected, or a
    share that fails of so many, by what else is `own` to its service."""
    if item.kind in VAGUE and counts_requests(item.series):
        return abs(item.value - item.expected) < FEW_REQUESTS
    return failing_side(metric_of(item.series)) != 0 and any(
        other.service == item.service
        and counts_requests(other.series)
        and other.value < FEW_REQUESTS
        for other in own
    )


def far_out(signal: Signal) -> float:
    """How far out it is, 0 to 1; of what tells little, little."""
    far = min(signal.score, FULL_SCORE) / FULL_SCORE
    return far * min(1.0, OWN[meaning(signal)] / OWN["latency"])
