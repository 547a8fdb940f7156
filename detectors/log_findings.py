"""What is told of error lines, and what waits until it has lasted."""

from collections.abc import Mapping
from typing import NamedTuple

from detectors.base import Explanation, State

_GONE_WINDOWS = 3
"""So many windows with lines of a service, but without an error, say that it does not last."""

Key = tuple[str, int]
"""A service and one of its templates."""


class LogFinding(NamedTuple):
    """What is told of one template of one service in one window."""

    series: str
    service: str
    since_ms: int
    score: float
    explanation: Explanation
    example: str | None


class Waiting(NamedTuple):
    """A finding, when its lines came first and last, and for how long they must come.

    `active` counts the windows in which its service had logged by then.
    """

    finding: LogFinding
    first_end_ms: int
    end_ms: int
    active: int
    lasts_ms: int


class WaitingFindings:
    """Findings that count as confirmed once they have lasted, unless the service goes on without.

    Parameters
    ----------
    forget_ms
        So long after its last line nothing more is told of a finding.
    """

    def __init__(self, forget_ms: int) -> None:
        self.forget_ms = forget_ms
        self._waiting: dict[Key, Waiting] = {}

    def put(self, key: Key, waiting: Waiting) -> None:
        """Lets a finding wait."""
        self._waiting[key] = waiting

    def drop(self, key: Key) -> None:
        """Forgets a finding: there is news of it."""
        self._waiting.pop(key, None)

    def due(self, end_ms: int, active: Mapping[str, int]) -> list[LogFinding]:
        """What has lasted by now although nothing has been logged since, each once."""
        self._waiting = {
            key: waiting
            for key, waiting in self._waiting.items()
            if end_ms - waiting.end_ms <= self.forget_ms
            and active.get(key[0], 0) - waiting.active < _GONE_WINDOWS
        }
        due = [k for k, w in self._waiting.items() if end_ms - w.first_end_ms >= w.lasts_ms]
        found = []
        for key in due:
            finding = self._waiting.pop(key).finding
            explanation = finding.explanation._replace(confirmed=True)
            found.append(finding._replace(explanation=explanation))
        return found

    def dump(self) -> State:
        """The whole state."""
        return [[*key, *waiting] for key, waiting in self._waiting.items()]

    def load(self, state: State) -> None:
        """Takes a state from `dump`."""
        self._waiting = {}
        for service, number, found, *times in state:
            series, _, since_ms, score, explanation, example = found
            finding = LogFinding(
                series, service, since_ms, score, Explanation(*explanation), example
            )
            self._waiting[service, number] = Waiting(finding, *times)
