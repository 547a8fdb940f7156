"""What detection says of one series in one window."""

from typing import Literal

import msgspec

AnomalyKind = Literal[
    "level",  # a metric left its expected range
    "error_ratio",  # more failures than chance allows
    "latency",  # requests take longer (in the service)
    "network",  # requests take longer (between caller and service)
    "traffic",  # far fewer or more requests than expected
    "saturation",  # a resource is at its limit
    "new_error_template",  # a kind of error log line never seen before
    "error_log_rate",  # a known error template comes far more often
    "code_path",  # a step of a service's work stays away that always came with others
    "silence",  # a series that reported regularly has stopped
    "novelty",  # a value, step, or time of day for a value, unlike any before
    "report",  # somebody says so
    "forecast",  # a limit will be reached soon if it goes on like this
]


class Forecast(msgspec.Struct, frozen=True, omit_defaults=True):
    """When a series will reach its limit if it goes on as it does, and how sure that is.

    The limit will be reached between `earliest_ms` and `latest_ms` with a probability of 80 %;
    `latest_ms` is None where the trend may as well come to nothing. `withdrawn` is the reason why
    a forecast that was told does not hold any more; then the times are those told last.
    """

    limit: float
    reached_ms: int
    earliest_ms: int
    latest_ms: int | None = None
    withdrawn: str | None = None


class Anomaly(msgspec.Struct, frozen=True, omit_defaults=True):
    """A series that is out of what was expected of it, for one window.

    `score` is -log10 of the calibrated tail probability: 6 means that one window in a million
    looks like this by chance, on every series alike; only that of a `novelty` is no probability,
    but laid so that the default threshold means it. `value`, `expected`, `lower` and `upper` are
    in the series' own unit. `since_ms` is the start of the first window of this run of anomalies.
    `requests` and `errors` count the service's calls in the window where they are known.
    `opens` says whether this alone is reason enough for an incident: the score has passed the
    threshold of the service's tier, and signals of this kind are trusted by themselves. Without it
    an anomaly only corroborates: it may join an incident that is open, but opens none.
    `threshold` is the score from which on such an anomaly of this service opens, if it is
    `confirmed`: if the evidence is more than one noisy sample. A `forecast` goes with that kind.
    `every_ms` is how often the series reports, as learned so far; 0 while that is not known.
    """

    series: str
    service: str
    kind: AnomalyKind
    window_start_ms: int
    window_end_ms: int
    since_ms: int
    score: float
    value: float
    expected: float
    lower: float
    upper: float
    reason: str
    requests: int = 0
    errors: int = 0
    instance: str | None = None
    operation: str | None = None
    caller: str | None = None
    example: str | None = None
    opens: bool = True
    threshold: float = 0.0
    confirmed: bool = True
    forecast: Forecast | None = None
    every_ms: int = 0

    @property
    def id(self) -> str:
        """Derived from what the anomaly is about."""
        return f"{self.series}/{self.kind}/{self.window_end_ms}"


class Call(msgspec.Struct, frozen=True, array_like=True):
    """An edge of the service graph: `caller` was seen to call `callee`."""

    caller: str
    callee: str


class ServiceTraffic(msgspec.Struct, frozen=True, array_like=True):
    """Requests of a service in one window, for impact; `errors` is 0 where none are recorded."""

    service: str
    requests: int
    errors: int


class AnomalyBatch(msgspec.Struct, frozen=True, omit_defaults=True):
    """One detected window of one shard: anomalies, the calls first seen, traffic, and progress.

    Like `ObservationBatch`, it also says that nothing more comes from `source` for windows ending
    at or before `window_end_ms`. `traffic` lists only services with an anomaly in the window.
    """

    source: str
    window_end_ms: int
    anomalies: tuple[Anomaly, ...] = ()
    calls: tuple[Call, ...] = ()
    traffic: tuple[ServiceTraffic, ...] = ()
    schema_version: int = 1

    @property
    def id(self) -> str:
        """Derived from what the batch is about, so a repeat is recognised."""
        return f"{self.source}/{self.window_end_ms}"
