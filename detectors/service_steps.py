"""The steps of one service's work, how firmly they go together, and which of them stay away."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import msgspec
import numpy as np

from detectors.base import Explanation, State
from detectors.calibration import TailCalibrator
from detectors.invariants import Flags, Floats, Invariants, Missing
from detectors.units import show

_ODD_WEIGHT = 0.05
GAP_MS = 90_000
"""After so long without any step a service begins anew: what came before and what comes now are
not judged together, and of a step that stayed away nothing more is told."""
_REPLACED = 0.5
_MAX_CANDIDATES = 500


_BELONG: Mapping[str, frozenset[str]] = {
    "line": frozenset(("line", "error", "request", "call")),
    "call": frozenset(("request", "call")),
    "error": frozenset(),
    "request": frozenset(),
}
"""What a step of each kind may be missed because of. Errors are no loss; and where lines come, but
neither requests nor calls, it is the tracing that has a gap."""


class Step(NamedTuple):
    """Something that a service does: writes a line, serves a request, calls another service.

    `name` tells it from the service's other steps of that kind, and tells it to people.
    """

    kind: Literal["line", "error", "request", "call"]
    name: str


class Away(msgspec.Struct, array_like=True):
    """A step that stays away: in the windows from `since_ms` to `last_end_ms`.

    `from_start` says that it has done so since the service began to do anything.
    """

    since_ms: int
    first_end_ms: int
    from_start: bool
    last_end_ms: int = 0
    score: float = 0.0
    value: float = 0.0
    expected: float = 0.0
    confirmed: bool = False
    step: str = ""
    reason: str = ""

    @property
    def explanation(self) -> Explanation:
        """The same as detectors say it."""
        expected = self.expected
        return Explanation(
            "code_path", self.value, expected, expected, expected, self.reason, self.confirmed
        )


class _Window:
    """The counts of one window of a service, until they are learnt.

    `fresh` counts the lines of kinds that had begun to come only then; `odd` says that some step
    stayed away.
    """

    __slots__ = ("counts", "end_ms", "fresh", "odd", "start_ms")

    def __init__(
        self, start_ms: int, end_ms: int, counts: Floats, fresh: float, odd: bool = False
    ) -> None:
        self.start_ms = start_ms
        self.end_ms = end_ms
        self.counts = counts
        self.fresh = fresh
        self.odd = odd

    def dump(self) -> State:
        return [self.start_ms, self.end_ms, self.counts.tolist(), self.fresh, self.odd]


class ServiceSteps:
    """The steps of one service, how firmly they go together, and which of them stay away.

    A step that comes for the second time gets one of the `most` places.
    """

    def __init__(
        self, most: int, learning_windows: int, pool_windows: int, adopt_windows: int
    ) -> None:
        self.most = most
        self.learning_windows = learning_windows
        self.pool_windows = pool_windows
        self.adopt_windows = adopt_windows
        self.begun_ms = 0
        self.last_ms = 0
        self.told_ms = 0
        self._begin()

    def _begin(self) -> None:
        self.invariants = Invariants(most=self.most)
        self.windows: list[_Window] = []
        self.away: dict[int, Away] = {}
        self._steps: list[Step] = []
        self._places: dict[Step, int] = {}
        self._allowed: Flags = np.zeros((0, 0), dtype=np.bool_)
        self._admitted: list[int] = []
        self._came_ms: list[int] = []
        self._candidates: dict[Step, None] = {}
        self._seen = 0
        self._odd_in_a_row = 0
        self._judged_at: dict[int, int] = {}
        self._calibrators: dict[int, TailCalibrator] = {}

    def take(self, start_ms: int, end_ms: int, came: Mapping[Step, int]) -> int:
        """Takes one window in and learns the one that is too old to be judged.

        Returns how much was left out for want of room.
        """
        if start_ms - self.last_ms > GAP_MS:
            self.begun_ms = start_ms
        self.last_ms = end_ms
        left_out, fresh = 0, 0.0
        for step in sorted(step for step in came if step not in self._places):
            if not self._admit(step):
                left_out += len(self._steps) >= self.most
        counts = np.zeros(len(self._steps))
        for step, count in came.items():
            place = self._places.get(step)
            if place is not None:
                counts[place] = count
                self._came_ms[place] = end_ms
                recent = self._seen - self._admitted[place] < self.pool_windows
                fresh += count if recent and step.kind == "line" else 0.0
        self.windows.append(_Window(start_ms, end_ms, counts, fresh))
        self._seen += 1
        if self.is_learning:
            self._begin_with(self.windows)
        elif len(self.windows) > self.pool_windows:
            self._learn(self.windows.pop(0))
        return left_out

    def _begin_with(self, windows: list[_Window]) -> None:
        if len(windows) >= self.learning_windows:
            self.invariants.begin([window.counts for window in windows])
            windows.clear()

    @property
    def is_learning(self) -> bool:
        """Whether too little is known for anything to be said."""
        return self.invariants.windows < self.learning_windows

    def _admit(self, step: Step) -> bool:
        """Whether a new step gets a place: what never comes again is not worth one."""
        if step not in self._candidates:
            if len(self._candidates) >= _MAX_CANDIDATES:
                self._candidates.clear()
            self._candidates[step] = None
            return False
        place = self.invariants.add()
        if place is None:
            return False
        del self._candidates[step]
        self._places[step] = place
        self._steps.append(step)
        self._admitted.append(self._seen)
        self._came_ms.append(self.last_ms)
        return True

    def _allow(self) -> None:
        kinds = [step.kind for step in self._steps]
        self._allowed = np.array([[other in _BELONG[kind] for kind in kinds] for other in kinds])

    def tidy(self, before_ms: int) -> None:
        """Begins anew if there is no more room, but for steps that have not come since."""
        if len(self._steps) >= self.most and min(self._came_ms) < before_ms:
            self._begin()

    def _learn(self, old: _Window) -> None:
        self._odd_in_a_row = self._odd_in_a_row + 1 if old.odd else 0
        if self._odd_in_a_row >= self.adopt_windows:
            self._begin()
        else:
            self.invariants.learn(old.counts, _ODD_WEIGHT if old.odd else 1.0)

    def judge(self, service: str, least: float) -> None:
        """Looks at the last window, with those before it, for steps that stay away."""
        if self.is_learning or not self.windows:
            return
        if len(self._allowed) < len(self._steps):
            self._allow()
        missing = self.invariants.missing([w.counts for w in self._unbroken()], self._allowed)
        for place in sorted(missing):
            self._suspect(service, place, missing[place], least)
        counts = self.windows[-1].counts
        for place in [p for p in self.away if p not in missing and counts[p : p + 1].sum() > 0]:
            del self.away[place]

    def _unbroken(self) -> list[_Window]:
        windows = self.windows
        start = len(windows) - 1
        while start and windows[start].start_ms - windows[start - 1].end_ms <= GAP_MS:
            start -= 1
        return windows[start:]

    def _suspect(self, service: str, place: int, missing: Missing, least: float) -> None:
        calibrator = self._calibrators.get(place)
        if calibrator is None:
            calibrator = self._calibrators[place] = TailCalibrator(outage_samples=3)
        quiet = self._seen - 1 - self._judged_at.get(place, 0)
        if quiet > 0:
            calibrator.learn(0.0, quiet)
        self._judged_at[place] = self._seen
        score = calibrator.score(missing.raw)
        calibrator.learn(missing.raw)
        if score < least:
            return
        run = self.windows[-missing.span :]
        for window in run:
            window.odd = True
        away = self.away.get(place)
        if away is None:
            first = self.windows[-missing.first]
            since_ms, first_end_ms = first.start_ms, first.end_ms
            # The first window is cut, and may hold nothing that could tell.
            from_start = since_ms <= self.begun_ms + first_end_ms - since_ms
            away = self.away[place] = Away(since_ms, first_end_ms, from_start)
        away.last_end_ms, away.score = run[-1].end_ms, score
        self._explain(service, place, missing, run, away)

    def _explain(
        self, service: str, place: int, missing: Missing, run: list[_Window], away: Away
    ) -> None:
        step, other = self._steps[place], self._steps[missing.other]
        seconds = (run[-1].end_ms - run[0].start_ms) / 1000
        lost = step.kind == "line" and other.kind != "line" and self._is_mute(run)
        absent = missing.expected - missing.came
        replaced = sum(window.fresh for window in run) >= _REPLACED * absent
        away.confirmed = missing.windows >= 2 and not lost and not replaced
        away.value, away.expected, away.step = missing.came, missing.expected, _named(step)
        away.reason = (
            f"{service}: {_named(step)} came {show(missing.came)} times in {seconds:g} s, expected "
            f"{show(missing.expected)}, as always with {_named(other)}"
        )

    def _is_mute(self, run: list[_Window]) -> bool:
        """Whether no line at all has come: then it is the log that is lost."""
        lines = [i for i, step in enumerate(self._steps) if step.kind in ("line", "error")]
        return not any(w.counts[i] for w in run for i in lines if i < len(w.counts))

    def dump(self) -> State:
        """The whole state."""
        return [
            self.begun_ms,
            self.last_ms,
            self.told_ms,
            self.invariants.dump(),
            [window.dump() for window in self.windows],
            [[place, msgspec.to_builtins(away)] for place, away in self.away.items()],
            [list(step) for step in self._steps],
            self._admitted,
            self._came_ms,
            [list(step) for step in self._candidates],
            self._seen,
            self._odd_in_a_row,
            list(self._judged_at.items()),
            [[place, calibrator.dump()] for place, calibrator in self._calibrators.items()],
        ]

    def load(self, state: State) -> None:
        """Takes a state from `dump`."""
        self._begin()
        self.begun_ms, self.last_ms, self.told_ms, invariants, windows, away = state[:6]
        steps, admitted, came_ms, candidates, self._seen, self._odd_in_a_row = state[6:12]
        judged_at, calibrators = state[12:]
        self.invariants.load(invariants)
        for start_ms, end_ms, counts, fresh, odd in windows:
            self.windows.append(_Window(start_ms, end_ms, np.array(counts), fresh, odd))
        self.away = {place: msgspec.convert(one, Away) for place, one in away}
        self._steps = [Step(kind, name) for kind, name in steps]
        self._places = {step: place for place, step in enumerate(self._steps)}
        self._admitted, self._came_ms = list(admitted), list(came_ms)
        self._candidates = {Step(kind, name): None for kind, name in candidates}
        self._judged_at = dict(judged_at)
        for place, dumped in calibrators:
            self._calibrators[place] = TailCalibrator(outage_samples=3)
            self._calibrators[place].load(dumped)


def _named(step: Step) -> str:
    match step.kind:
        case "request":
            return f"{step.name} requests"
        case "call":
            return f"calls to {step.name}"
        case _:
            text = step.name if len(step.name) <= 90 else f"{step.name[:89]}…"
            return f"“{text}”"
