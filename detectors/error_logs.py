"""Error lines never seen before, and known ones that come too often."""

from collections.abc import Sequence
from typing import NamedTuple

from detectors.base import Explanation, State
from detectors.template_rate import Recent, TemplateRate
from detectors.templates import TemplateTree
from detectors.units import show
from schemas.observations import Observation

ERRORS = frozenset({"ERROR", "FATAL", "CRITICAL", "SEVERE", "ALERT", "EMERGENCY", "PANIC"})
_TOLD_WEIGHTS = (0.05, 0.3, 1.0)
"""How much of the lines that were told as anomalous is learnt, in the first, the second and any
later episode of a template: an outage is not usual, but what keeps coming back is."""


class _Lines(NamedTuple):
    """Lines of one template of one service in a window, with one observation as example."""

    service: str
    template: int
    lines: int
    observation: Observation


class LogFinding(NamedTuple):
    """What is told of one template of one service in one window."""

    series: str
    service: str
    since_ms: int
    score: float
    explanation: Explanation
    example: str | None


class LogTemplates:
    """Watches the error templates of many services.

    Time counts only while a service logs, so silence and reappearing mean nothing by themselves.
    The last `pool` windows are judged together as well, so that a slow drip shows. A service is
    not spoken of in its first `learning_windows` windows of activity: what comes then is known.

    Parameters
    ----------
    learning_windows
        Windows with log lines before a service is spoken of.
    pool_ms
        How far back lines are counted together, milliseconds.
    new_for_ms
        So long after its first line a template is called new.
    confirm_windows, confirm_ms
        In so many windows of the pool, and so far apart, a template must come to count as
        confirmed: one failed request can write many lines, but only once.
    known_windows
        The rate of a known template counts as confirmed only after so many windows in which its
        service logged, since how errors come and go by nature shows only in time.
    """

    def __init__(
        self,
        *,
        learning_windows: int = 3,
        pool_ms: int = 60_000,
        new_for_ms: int = 300_000,
        confirm_windows: int = 4,
        confirm_ms: int = 30_000,
        known_windows: int = 360,
    ) -> None:
        self.learning_windows = learning_windows
        self.pool_ms = pool_ms
        self.new_for_ms = new_for_ms
        self.confirm_windows = confirm_windows
        self.confirm_ms = confirm_ms
        self.known_windows = known_windows
        self.tree = TemplateTree()
        self._active: dict[str, int] = {}
        self._rates: dict[tuple[str, int], TemplateRate] = {}
        self._fleet_lines: dict[int, int] = {}
        self._fleet_windows = 0
        self._episodes: dict[int, int] = {}

    def process(
        self, start_ms: int, end_ms: int, logs: Sequence[Observation], least: float
    ) -> list[LogFinding]:
        """Judges and learns one window; `logs` are ordered. Tells what scores at least `least`."""
        for service in sorted({o.service for o in logs}):
            self._active[service] = self._active.get(service, 0) + 1
            self._fleet_windows += 1
        counts: dict[tuple[str, int], _Lines] = {}
        for o in logs:
            if (o.severity or "").upper() in ERRORS and o.text:
                key = (o.service, self.tree.add(o.text))
                before = counts.get(key)
                counts[key] = (
                    _Lines(*key, o.count, o)
                    if before is None
                    else before._replace(lines=before.lines + o.count)
                )
        found = [self._judge(lines, start_ms, end_ms, least) for lines in counts.values()]
        return [finding for finding in found if finding is not None]

    def _judge(self, came: _Lines, start_ms: int, end_ms: int, least: float) -> LogFinding | None:
        active = self._active[came.service]
        rate = self._rate(came, active, start_ms)
        episodes = self._episodes.get(came.template, 0)
        told_weight = _TOLD_WEIGHTS[min(max(episodes, 1), len(_TOLD_WEIGHTS)) - 1]
        rate.age(end_ms - self.pool_ms, told_weight)
        if not any(r.told for r in rate.recent):
            rate.since_ms = 0
        quiet = active - 1 - (rate.recent[-1].active if rate.recent else rate.learnt_at)
        rate.recent.append(Recent(end_ms, active, came.lines))
        elsewhere = self._fleet_lines.get(came.template, 0) - rate.total
        fleet_rate = elsewhere / max(self._fleet_windows - active, 1)
        expected = rate.expected(rate.recent[0].active, fleet_rate)
        pooled = sum(r.lines for r in rate.recent)
        width = end_ms - start_ms
        windows = max(1, self.pool_ms // width)
        options = (
            (rate.score(came.lines, 1, expected), came.lines, 1),
            (rate.score(pooled, windows, expected), pooled, windows),
        )
        (raw, score), lines, windows = max(options, key=lambda option: option[0][1])
        if active <= self.learning_windows:
            raw = score = 0.0
        if quiet > 0:
            rate.calibrator.learn(0.0, quiet)
        rate.calibrator.learn(raw)
        rate.total += came.lines
        self._fleet_lines[came.template] = self._fleet_lines.get(came.template, 0) + came.lines
        if score < least:
            return None
        if not rate.since_ms:
            rate.since_ms = start_ms
            self._episodes[came.template] = episodes + 1
        for r in rate.recent:
            r.told = True
        explanation = self._explain(came, rate, (lines, windows * width, expected * windows))
        name = self.tree.name(came.template)
        series = f'error_log{{service="{came.service}",template="{name}"}}'
        example = came.observation.example
        return LogFinding(series, came.service, rate.since_ms, score, explanation, example)

    def _rate(self, came: _Lines, active: int, start_ms: int) -> TemplateRate:
        key = (came.service, came.template)
        rate = self._rates.get(key)
        if rate is None:
            rate = self._rates[key] = TemplateRate()
            known = active <= self.learning_windows or came.template in self._fleet_lines
            rate.first_ms = 0 if known else start_ms
        return rate

    def _explain(
        self, came: _Lines, rate: TemplateRate, seen: tuple[int, int, float]
    ) -> Explanation:
        lines, span_ms, expected = seen
        new = rate.first_ms > 0 and rate.since_ms - rate.first_ms < self.new_for_ms
        text = self.tree.template(came.template)
        if len(text) > 120:
            text = text[:119] + "…"
        upper = max(1.0, expected + 4 * expected**0.5)
        reason = (
            f"{came.service} logged {lines:,} lines in {span_ms / 1000:g} s of an error never seen "
            f"before: {text}"
            if new
            else f"{came.service} logged {lines:,} error lines in {span_ms / 1000:g} s, expected "
            f"up to {show(upper)}: {text}"
        )
        return Explanation(
            "new_error_template" if new else "error_log_rate",
            float(lines),
            expected,
            0.0,
            upper,
            reason,
            self._confirmed(rate, new),
        )

    def _confirmed(self, rate: TemplateRate, new: bool) -> bool:
        """Whether it lasts, and is new or so well known that a rise means something."""
        recent = rate.recent
        span_ms = recent[-1].end_ms - recent[0].end_ms
        lasts = len(recent) >= self.confirm_windows and span_ms >= self.confirm_ms
        return lasts and (new or rate.recent[-1].active >= self.known_windows)

    def dump(self) -> State:
        """The whole state."""
        return [
            self.tree.dump(),
            self._active,
            [[service, number, rate.dump()] for (service, number), rate in self._rates.items()],
            list(self._fleet_lines.items()),
            self._fleet_windows,
            list(self._episodes.items()),
        ]

    def load(self, state: State) -> None:
        """Takes a state from `dump`."""
        tree, active, rates, fleet_lines, self._fleet_windows, episodes = state
        self.tree.load(tree)
        self._active = dict(active)
        self._rates = {}
        for service, number, dumped in rates:
            rate = self._rates[service, number] = TemplateRate()
            rate.load(dumped)
        self._fleet_lines = dict(fleet_lines)
        self._episodes = dict(episodes)
