"""Error lines never seen before, and known ones that come too often."""

from collections.abc import Sequence
from typing import NamedTuple

from detectors.base import Explanation, State
from detectors.log_findings import LogFinding, Waiting, WaitingFindings
from detectors.service_steps import GAP_MS
from detectors.template_rate import Recent, TemplateRate
from detectors.templates import TemplateTree
from detectors.units import show
from schemas.observations import Observation

ERRORS = frozenset({"ERROR", "FATAL", "CRITICAL", "SEVERE", "ALERT", "EMERGENCY", "PANIC"})
_TOLD_WEIGHTS = (0.05, 0.3, 1.0)
"""How much of the lines that were told as anomalous is learnt, in the first, the second and any
later episode of a template: an outage is not usual, but what keeps coming back is."""
_SHORT_MS = 60_000
_CUT_MS = 20_000
"""What comes so soon after a service began to log has been there from the start."""


class _Lines(NamedTuple):
    """Lines of one template of one service in a window, with one observation as example."""

    service: str
    template: int
    lines: int
    observation: Observation


class _Seen(NamedTuple):
    """Lines of a template in a span of time, how many were expected, and what is said of that."""

    lines: int
    span_ms: int
    expected: float
    raw: float
    score: float


class LogTemplates:
    """Watches the error templates of many services.

    Time counts only while a service logs, so silence and reappearing mean nothing by themselves.
    The last minute and the whole pool are judged together as well, so that a slow drip shows. A
    service is not spoken of in its first `learning_windows` windows of activity: what comes then
    is known. A template that more than one service writes comes from what they have in common and
    mostly says that something else has failed; it only corroborates until it is well known.

    Parameters
    ----------
    learning_windows
        Windows with log lines before a service is spoken of.
    pool_ms
        How far back lines are counted together, milliseconds.
    new_for_ms
        So long after its first line a template is called new.
    confirm_windows, confirm_ms, settles_ms
        In so many windows of the pool a template must come to count as confirmed, since one failed
        request can write many lines, but only once; and for so long, or for `settles_ms` if the
        service has never been without it since it began to log: what has just started is not yet
        what it will be. That time passes also while the service logs nothing, but not once it has
        logged in three windows without the template.
    known_windows
        The rate of any other template counts as confirmed only after so many windows in which its
        service logged, since how errors come and go by nature shows only in time.
    most
        Services watched at once, and templates of services. What is new beyond is not watched, and
        counted in `left_out`, until others have been forgotten.
    """

    def __init__(
        self,
        *,
        learning_windows: int = 3,
        pool_ms: int = 180_000,
        new_for_ms: int = 300_000,
        confirm_windows: int = 3,
        confirm_ms: int = 50_000,
        settles_ms: int = 120_000,
        known_windows: int = 360,
        most: int = 100_000,
    ) -> None:
        self.learning_windows = learning_windows
        self.pool_ms = pool_ms
        self.new_for_ms = new_for_ms
        self.confirm_windows = confirm_windows
        self.confirm_ms = confirm_ms
        self.settles_ms = settles_ms
        self.known_windows = known_windows
        self.most = most
        self.left_out = 0
        self.tree = TemplateTree()
        self._active: dict[str, int] = {}
        self._lately: dict[str, list[int]] = {}
        self._begun: dict[str, int] = {}
        self._rates: dict[tuple[str, int], TemplateRate] = {}
        self._fleet_lines: dict[int, int] = {}
        self._fleet_windows = 0
        self._episodes: dict[int, int] = {}
        self._waiting = WaitingFindings(pool_ms)

    def process(
        self, start_ms: int, end_ms: int, logs: Sequence[Observation], least: float
    ) -> list[LogFinding]:
        """Judges and learns one window; `logs` are ordered. Tells what scores at least `least`."""
        for service in sorted({o.service for o in logs}):
            if service not in self._active and len(self._active) >= self.most:
                continue
            self._active[service] = self._active.get(service, 0) + 1
            self._fleet_windows += 1
            if start_ms - self._lately.get(service, [0])[-1] > GAP_MS:
                self._begun[service] = start_ms
            lately = [*self._lately.get(service, ()), end_ms]
            self._lately[service] = [end for end in lately if end > end_ms - self.pool_ms]
        found = [
            self._judge(lines, start_ms, end_ms, least)
            for lines in self._count(logs)
            if self._admit((lines.service, lines.template))
        ]
        return [finding for finding in found if finding is not None] + self._waiting.due(
            end_ms, self._active
        )

    def _count(self, logs: Sequence[Observation]) -> list[_Lines]:
        """The error lines of the services that are watched, by service and template."""
        counts: dict[tuple[str, int], _Lines] = {}
        for o in logs:
            if o.service not in self._active:
                self.left_out += 1
            elif (o.severity or "").upper() in ERRORS and o.text:
                key = (o.service, self.tree.add(o.text))
                before = counts.get(key)
                counts[key] = (
                    _Lines(*key, o.count, o)
                    if before is None
                    else before._replace(lines=before.lines + o.count)
                )
        return list(counts.values())

    def _admit(self, key: tuple[str, int]) -> bool:
        """Whether a template of a service is watched; a new one is if there is room."""
        if key in self._rates or len(self._rates) < self.most:
            return True
        self.left_out += 1
        return False

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
        seen = [
            self._seen(came.service, rate, end_ms, span_ms, expected)
            for span_ms in (end_ms - start_ms, _SHORT_MS, self.pool_ms)
        ]
        most = max(seen, key=lambda s: s.score)
        raw, score = most.raw, most.score
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
        explanation, lasting = self._explain(came, rate, most), self._lasting(came, rate)
        name = self.tree.name(came.template)
        series = f'error_log{{service="{came.service}",template="{name}"}}'
        example = came.observation.example
        finding = LogFinding(series, came.service, rate.since_ms, score, explanation, example)
        key = (came.service, came.template)
        self._waiting.drop(key)
        if lasting and not explanation.confirmed:
            first_end_ms, lasts_ms = rate.recent[0].end_ms, self._lasts_ms(came.service, rate)
            self._waiting.put(key, Waiting(finding, first_end_ms, end_ms, active, lasts_ms))
        return finding

    def _seen(
        self, service: str, rate: TemplateRate, end_ms: int, span_ms: int, each: float
    ) -> _Seen:
        """What came in the last `span_ms`, where `each` line a window was expected."""
        lines = sum(r.lines for r in rate.recent if r.end_ms > end_ms - span_ms)
        windows = sum(end > end_ms - span_ms for end in self._lately[service])
        return _Seen(lines, span_ms, each * windows, *rate.score(lines, windows, each))

    def _rate(self, came: _Lines, active: int, start_ms: int) -> TemplateRate:
        key = (came.service, came.template)
        rate = self._rates.get(key)
        if rate is None:
            rate = self._rates[key] = TemplateRate()
            known = active <= self.learning_windows or came.template in self._fleet_lines
            rate.first_ms = 0 if known else start_ms
        return rate

    def _explain(self, came: _Lines, rate: TemplateRate, seen: _Seen) -> Explanation:
        lines, span_ms, expected = seen[:3]
        new = self._is_new(rate)
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
            self._lasting(came, rate)
            and rate.recent[-1].end_ms - rate.recent[0].end_ms
            >= self._lasts_ms(came.service, rate),
        )

    def _lasts_ms(self, service: str, rate: TemplateRate) -> int:
        """How long it must have lasted: longer if the service has never been without it."""
        first_end_ms, begun_ms = rate.recent[0].end_ms, self._begun[service]
        return self.settles_ms if first_end_ms <= begun_ms + _CUT_MS else self.confirm_ms

    def _is_new(self, rate: TemplateRate) -> bool:
        return rate.first_ms > 0 and rate.since_ms - rate.first_ms < self.new_for_ms

    def _lasting(self, came: _Lines, rate: TemplateRate) -> bool:
        """Whether it has come often enough, and is the service's own or known so well that a rise
        counts: it is confirmed as soon as it has lasted."""
        if len(rate.recent) < self.confirm_windows:
            return False
        if rate.recent[-1].active >= self.known_windows:
            return True
        again = rate.first_ms > 0 and rate.usual == 0
        shared = self._fleet_lines[came.template] > rate.total
        return not shared and (self._is_new(rate) or again)

    def forget(self, before_ms: int) -> None:
        """Drops the services and their templates that have not been seen since.

        What was counted of them over all services goes too, so that a template which returns after
        that is a new one again.
        """
        for service in [s for s, ends in self._lately.items() if ends[-1] < before_ms]:
            del self._lately[service]
            del self._begun[service]
            self._fleet_windows -= self._active.pop(service)
        for key in [k for k, rate in self._rates.items() if rate.recent[-1].end_ms < before_ms]:
            self._fleet_lines[key[1]] -= self._rates.pop(key).total
        self._fleet_lines = {number: lines for number, lines in self._fleet_lines.items() if lines}
        self._episodes = {n: e for n, e in self._episodes.items() if n in self._fleet_lines}

    def dump(self) -> State:
        """The whole state."""
        return [
            self.tree.dump(),
            self._active,
            self._lately,
            self._begun,
            [[service, number, rate.dump()] for (service, number), rate in self._rates.items()],
            list(self._fleet_lines.items()),
            self._fleet_windows,
            list(self._episodes.items()),
            self._waiting.dump(),
        ]

    def load(self, state: State) -> None:
        """Takes a state from `dump`."""
        tree, active, lately, begun, rates, fleet_lines = state[:6]
        self._fleet_windows, episodes, waiting = state[6:]
        self.tree.load(tree)
        self._active = dict(active)
        self._lately = {service: list(ends) for service, ends in lately.items()}
        self._begun = dict(begun)
        self._rates = {}
        for service, number, dumped in rates:
            rate = self._rates[service, number] = TemplateRate()
            rate.load(dumped)
        self._fleet_lines = dict(fleet_lines)
        self._episodes = dict(episodes)
        self._waiting.load(waiting)
