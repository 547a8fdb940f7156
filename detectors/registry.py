"""Which detectors watch a series: ours by the kind of observation, or what a rule names."""

from collections.abc import Container, Sequence
from fnmatch import fnmatchcase

from detectors.base import Detector, State, UnknownDetectorError
from detectors.calibration import FleetCalibrator
from detectors.expiry import ExpiryDetector
from detectors.failure_share import FailureShareDetector, is_failure_share
from detectors.forecast import ForecastDetector
from detectors.latency import LatencyDetector
from detectors.limits import expiry_unit_ms, limit_of
from detectors.novelty import NoveltyDetector
from detectors.ratio import ErrorRatioDetector
from detectors.saturation import SaturationDetector, is_utilisation
from detectors.seasonal import Parameters, SeasonalDetector
from detectors.traffic import TrafficDetector
from detectors.units import smallest_difference
from schemas.configuration import Detection, DetectorRule, SeriesLimit
from schemas.observations import ObservationKind
from schemas.units import metric_of

_KINDS: tuple[ObservationKind, ...] = ("gauge", "duration", "requests")


class Registry:
    """Builds the detectors of a series after the configuration's rules; the first match counts.

    A rule's `parameters` go to River's class or, with `default`, to `SeasonalDetector` for gauges,
    `LatencyDetector` for durations and `ErrorRatioDetector` for requests. A gauge that reports a
    share of failures has a `FailureShareDetector`, unless a rule gives it parameters. Every gauge
    has a `NoveltyDetector` besides, and one with a limit, by its name or by `limits`, a
    `ForecastDetector`.

    Raises `UnknownDetectorError` at once if a rule names a detector that there is not.
    """

    def __init__(self, detection: Detection, limits: Sequence[SeriesLimit] = ()) -> None:
        self._detection = detection
        self._limits = limits or detection.limits
        self._fleets: dict[str, FleetCalibrator] = {}
        for number, rule in enumerate(detection.rules):
            try:
                self._check(rule)
            except (UnknownDetectorError, TypeError) as error:
                raise UnknownDetectorError(f"detection.rules[{number}]: {error}") from error

    @property
    def parameters(self) -> Parameters:
        """With which seasonal detectors are made where no rule says otherwise."""
        return Parameters(warmup_samples=self._detection.warmup_samples)

    def rule(self, series: str) -> DetectorRule | None:
        """The rule for a series, if any matches."""
        rules = self._detection.rules
        return next((rule for rule in rules if fnmatchcase(series, rule.series)), None)

    def detectors(self, series: str, kind: ObservationKind) -> Sequence[Detector]:
        """The detectors of a series; none if a rule disables it."""
        rule = self.rule(series)
        if rule is not None and not rule.enabled:
            return ()
        return self._build(rule, kind, series)

    def threshold(self, series: str, tier: int) -> float:
        """The score from which on an anomaly counts, for a service of this tier."""
        detection, rule = self._detection, self.rule(series)
        if rule is not None and rule.threshold is not None:
            return rule.threshold if rule.detector == "default" else detection.threshold
        return detection.threshold + detection.tier_threshold_offsets.get(tier, 0.0)

    def enabled(self, series: str) -> bool:
        """Whether anything may be told of a series."""
        rule = self.rule(series)
        return rule is None or rule.enabled

    def _check(self, rule: DetectorRule) -> None:
        """Builds what the rule names, for the first kind of observation that takes its parameters.

        Raises `UnknownDetectorError` or `TypeError` if it fits none.
        """
        errors: list[TypeError] = []
        for kind in _KINDS:
            try:
                self._build(rule, kind, "")
                return
            except TypeError as error:
                errors.append(error)
        raise errors[0]

    def _build(
        self, rule: DetectorRule | None, kind: ObservationKind, series: str
    ) -> Sequence[Detector]:
        warmup = self._detection.warmup_samples
        if rule is not None and rule.detector != "default":
            # River takes longer to import than all the rest, and most systems name none of it.
            from detectors.river_adapter import RiverDetector  # noqa: PLC0415

            at = self._detection.threshold
            return (RiverDetector(rule.detector, rule.parameters, rule.threshold, warmup, at),)
        parameters = rule.parameters if rule is not None else {}
        if kind == "requests":
            ratio = ErrorRatioDetector(**{"warmup_samples": warmup, **parameters})
            return (ratio, TrafficDetector())
        if kind == "duration":
            return (LatencyDetector(**parameters),)
        if (unit_ms := expiry_unit_ms(series)) is not None:
            return (ExpiryDetector(unit_ms),)
        busy = is_utilisation(series)
        seasonal: Detector = (
            FailureShareDetector(warmup_samples=warmup)
            if is_failure_share(series) and not parameters
            else SeasonalDetector(
                **{"warmup_samples": warmup, "harmless_low": busy, **parameters},
                fleet=self._fleet(metric_of(series)) if series else None,
            )
        )
        novelty = NoveltyDetector(least_difference=smallest_difference(metric_of(series)))
        usual: tuple[Detector, ...] = (seasonal, novelty)
        if busy:
            usual = (SaturationDetector(), *usual)
        limit = limit_of(series, self._limits)
        if limit is None:
            return usual
        horizon_ms = round(self._detection.forecast_horizon_seconds * 1000)
        return (*usual, ForecastDetector(limit, horizon_ms))

    def _fleet(self, metric: str) -> FleetCalibrator:
        """What all series of a metric have in common: how wild their deviations are."""
        fleet = self._fleets.get(metric)
        if fleet is None:
            fleet = self._fleets[metric] = FleetCalibrator()
        return fleet

    def settle(self) -> None:
        """Learns what all series of a metric have in common, once a window has been learnt."""
        for fleet in self._fleets.values():
            fleet.settle()

    def keep(self, metrics: Container[str]) -> None:
        """Drops the common histories of all other metrics; theirs begin anew if they return."""
        self._fleets = {m: fleet for m, fleet in self._fleets.items() if m in metrics}

    def dump(self) -> State:
        """The common histories."""
        return [[metric, fleet.dump()] for metric, fleet in self._fleets.items()]

    def load(self, state: State) -> None:
        """Takes the common histories from `dump`."""
        self._fleets = {}
        for metric, dumped in state:
            self._fleet(metric).load(dumped)
