"""Steps of services' work that belong together: where one comes and the other stays away."""

from collections.abc import Mapping
from typing import NamedTuple

from detectors.base import Explanation, State
from detectors.service_steps import ServiceSteps, Step


class StepFinding(NamedTuple):
    """That steps of a service stay away; the explanation is of the one that is missed most."""

    service: str
    since_ms: int
    score: float
    step: str
    explanation: Explanation


class StepWatch:
    """Watches the steps of many services: log lines by kind, requests served, calls made.

    A code path that breaks off, or takes another turn, often makes nothing slow and logs no error;
    but what always went together does so no more (`Invariants`). Error lines never count as
    missing, and requests and calls not because of lines: there it is the tracing that has a gap.
    For the same reason missing lines are not trusted if the service has written none.

    What stays away must do so for `lasts_ms`, without a window in which all was right, and for
    `settles_ms` if it has never come since the service began to do anything: what has just started
    is not yet what it will be. If nothing more is heard of the service meanwhile, that time passes
    all the same. What stays away for `adopt_windows` in a row is the usual from
    then on, and everything is learnt anew; where new kinds of lines have come instead of the
    missing ones, the code was rather changed than broken, and that only corroborates.

    Parameters
    ----------
    learning_windows
        Windows with steps before a service is spoken of.
    pool_windows
        So many of the service's last windows are judged together.
    lasts_ms, settles_ms
        How long a step must have stayed away, milliseconds: usually, and after a start.
    adopt_windows
        Windows in a row after which that is the usual.
    most_steps
        Steps of a service; what is new beyond is not looked at.
    most
        Services watched at once. What is beyond is counted in `left_out`, also for steps.
    """

    def __init__(
        self,
        *,
        learning_windows: int = 12,
        pool_windows: int = 18,
        lasts_ms: int = 50_000,
        settles_ms: int = 120_000,
        adopt_windows: int = 180,
        most_steps: int = 48,
        most: int = 5_000,
    ) -> None:
        self.learning_windows = learning_windows
        self.pool_windows = pool_windows
        self.lasts_ms = lasts_ms
        self.settles_ms = settles_ms
        self.adopt_windows = adopt_windows
        self.most_steps = most_steps
        self.most = most
        self.left_out = 0
        self._services: dict[str, ServiceSteps] = {}

    def process(
        self, start_ms: int, end_ms: int, steps: Mapping[str, Mapping[Step, int]], least: float
    ) -> list[StepFinding]:
        """Judges and learns one window; tells what scores at least `least` and has lasted."""
        for name in sorted(steps):
            service = self._services.get(name)
            if service is None:
                if len(self._services) >= self.most:
                    self.left_out += 1
                    continue
                service = self._services[name] = self._new()
            self.left_out += service.take(start_ms, end_ms, steps[name])
            service.judge(name, least)
        found = [
            self._due(name, service, end_ms)
            for name, service in self._services.items()
            if service.away
        ]
        return [finding for finding in found if finding is not None]

    def _new(self) -> ServiceSteps:
        return ServiceSteps(
            self.most_steps, self.learning_windows, self.pool_windows, self.adopt_windows
        )

    def _due(self, name: str, service: ServiceSteps, end_ms: int) -> StepFinding | None:
        """What is to be told of a service now: news, or what has lasted long enough meanwhile."""
        service.away = {
            place: away
            for place, away in service.away.items()
            if end_ms - away.last_end_ms <= self.settles_ms
        }
        lasting = [
            away
            for away in service.away.values()
            if end_ms - away.first_end_ms >= (self.settles_ms if away.from_start else self.lasts_ms)
            and away.last_end_ms > service.told_ms
        ]
        if not lasting:
            return None
        worst = max(lasting, key=lambda away: (away.confirmed, away.score))
        service.told_ms = max(away.last_end_ms for away in lasting)
        since_ms = min(away.since_ms for away in lasting)
        return StepFinding(name, since_ms, worst.score, worst.step, worst.explanation)

    def forget(self, before_ms: int) -> None:
        """Drops the services, and makes room for new steps, of which nothing has come since."""
        self._services = {n: s for n, s in self._services.items() if s.last_ms >= before_ms}
        for service in self._services.values():
            service.tidy(before_ms)

    def dump(self) -> State:
        """The whole state."""
        return [[name, service.dump()] for name, service in self._services.items()]

    def load(self, state: State) -> None:
        """Takes a state from `dump`."""
        self._services = {}
        for name, dumped in state:
            service = self._services[name] = self._new()
            service.load(dumped)
