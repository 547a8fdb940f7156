"""Log lines as templates: error lines never seen before, and known ones that come too often."""

from collections.abc import Sequence
from typing import NamedTuple
from zlib import crc32

import msgspec
from drain3.drain import Drain, LogCluster

from detectors.base import Explanation, State
from detectors.calibration import TailCalibrator
from detectors.tails import gamma_poisson_scores
from detectors.units import show
from schemas.observations import Observation

ERRORS = frozenset({"ERROR", "FATAL", "CRITICAL", "SEVERE", "ALERT", "EMERGENCY", "PANIC"})

_PRIOR_LINES = 0.5
_PRIOR_WINDOWS = 10.0
_MOST_SHAPE = 2.0
_TOLD_WEIGHTS = (0.05, 0.3, 1.0)
"""How much of the lines that were told as anomalous is learnt, in the first, the second and any
later episode of a template: an outage is not usual, but what keeps coming back is."""


class TemplateTree:
    """Drain, with a state that is plain data.

    The library's own snapshot is pickled objects, which must never be read from a place that
    others can write to. What a tree looks like follows from the first line of each cluster in the
    order of their making, so those lines and the templates as they are now are the whole state.

    Parameters
    ----------
    similarity
        Share of words in which a line and a template must agree.
    most
        Templates kept; what comes after belongs to one template for all the rest, 0.

    References
    ----------
    He, P., Zhu, J., Zheng, Z., Lyu, M. R. (2017). Drain: an online log parsing approach with fixed
    depth tree. ICWS.
    """

    def __init__(self, similarity: float = 0.5, most: int = 5_000) -> None:
        self.most = most
        self._similarity = similarity
        self._drain = Drain(depth=4, sim_th=similarity, max_children=100)
        self._origins: list[list[str]] = []

    def add(self, text: str) -> int:
        """The number of the template that the line belongs to, making one if need be."""
        if len(self._origins) >= self.most:
            known = self._drain.match(text)
            return int(known.cluster_id) if known is not None else 0
        cluster, change = self._drain.add_log_message(text)
        if change == "cluster_created":
            self._origins.append(list(cluster.log_template_tokens))
        return int(cluster.cluster_id)

    def template(self, number: int) -> str:
        """The template's text, `<*>` where its lines differ."""
        cluster = self._drain.id_to_cluster.get(number)
        return cluster.get_template() if cluster is not None else "any other line"

    def name(self, number: int) -> str:
        """A name that does not depend on the order in which templates were made."""
        origin = self._origins[number - 1] if number else []
        return f"{crc32(' '.join(origin).encode()):08x}"

    def dump(self) -> State:
        """First line and present template of each cluster, and how many lines it has had."""
        return [
            [origin, list(cluster.log_template_tokens), cluster.size]
            for origin, cluster in zip(self._origins, self._drain.clusters, strict=True)
        ]

    def load(self, state: State) -> None:
        """Grows the tree anew from `dump`."""
        self._drain = Drain(depth=4, sim_th=self._similarity, max_children=100)
        self._origins = []
        for number, (origin, tokens, size) in enumerate(state, 1):
            cluster = LogCluster(origin, number)
            self._drain.id_to_cluster[number] = cluster
            self._drain.add_seq_to_prefix_tree(self._drain.root_node, cluster)
            cluster.log_template_tokens = tuple(tokens)
            cluster.size = size
            self._origins.append(list(origin))
        self._drain.clusters_counter = len(self._origins)


class Recent(msgspec.Struct, array_like=True, gc=False):
    """Lines of a template in one window that is still being judged together with later ones."""

    end_ms: int
    active: int
    lines: int
    told: bool = False


class TemplateRate:
    """How often one template comes in one service, per window in which that service logs at all.

    A gamma-Poisson count: the rate is learnt from a prior; lines come in clumps, so the predictive
    tail is never narrower than that of gamma shape 2. A template without any history is simply one
    whose rate is known to be low by all the windows in which it did not come. The raw score is
    held to its own history by `TailCalibrator`. Lines are learnt only when they are too old to be
    judged, so that a slow drip does not make itself usual.
    """

    __slots__ = (
        "_lines",
        "_windows",
        "calibrator",
        "first_ms",
        "learnt_at",
        "recent",
        "since_ms",
        "total",
    )

    def __init__(self) -> None:
        self.calibrator = TailCalibrator(outage_samples=3)
        self._lines = 0.0
        self._windows = 0.0
        self.learnt_at = 0
        self.first_ms = 0
        self.since_ms = 0
        self.total = 0
        self.recent: list[Recent] = []

    def expected(self, first_active: int, fleet_rate: float) -> float:
        """Lines a window, from the windows before the `first_active`th and from elsewhere."""
        windows = self._windows + max(first_active - 1 - self.learnt_at, 0)
        lines = self._lines + _PRIOR_LINES + _PRIOR_WINDOWS * fleet_rate
        return lines / (windows + _PRIOR_WINDOWS)

    def score(self, lines: int, windows: int, expected: float) -> tuple[float, float]:
        """Raw and calibrated score of `lines` lines in `windows` windows, `expected` in each."""
        mean = expected * windows
        if lines <= 2 * mean:
            return 0.0, 0.0
        shape = min(self._lines + _PRIOR_LINES, _MOST_SHAPE)
        raw, _ = gamma_poisson_scores(float(lines), mean, shape)
        return raw, self.calibrator.score(raw)

    def age(self, before_ms: int, told_weight: float) -> None:
        """Learns the lines of windows that ended at or before `before_ms`."""
        while self.recent and self.recent[0].end_ms <= before_ms:
            old = self.recent.pop(0)
            self._windows += old.active - self.learnt_at
            self.learnt_at = old.active
            self._lines += old.lines * (told_weight if old.told else 1.0)
        if self._windows > 4000:
            self._windows /= 2
            self._lines /= 2

    def dump(self) -> State:
        """The whole state."""
        return [
            self._lines,
            self._windows,
            self.learnt_at,
            self.first_ms,
            self.since_ms,
            self.total,
            [msgspec.to_builtins(r) for r in self.recent],
            self.calibrator.dump(),
        ]

    def load(self, state: State) -> None:
        """Takes a state from `dump`."""
        self._lines, self._windows, self.learnt_at = state[:3]
        self.first_ms, self.since_ms, self.total, recent, calibrator = state[3:]
        self.recent = msgspec.convert(recent, list[Recent])
        self.calibrator.load(calibrator)


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
