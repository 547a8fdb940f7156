"""Ranks the services of an incident by how likely each is where the trouble comes from."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence

from schemas.anomalies import AnomalyKind
from schemas.incidents import Cause, Signal
from streams.dossier import plain_first
from streams.graph import ServiceGraph
from streams.signs import CARRIED, OWN, TELLS_NOTHING, far_out, is_of_few, meaning
from streams.together import FELT
from streams.words import clock, plain

ONSET_TOLERANCE_MS = 60_000
"""Onsets this near count as one: series report at their own moments, often once a minute."""

LATE_MS = 180_000
LATE = 0.5
"""What a sign is worth that came so long after the first: rather a consequence than the cause."""

UNSURE = 0.35
"""What a signal that only corroborates is worth, against one that is trusted."""

MAX_CAUSES = 10

CLEAR_WEIGHT = 0.6
OWN_IS_CLEAR = 1.2


def rank(
    signals: Sequence[Signal],
    graph: ServiceGraph,
    trusted: Collection[Signal] | None = None,
    pace_ms: int = 0,
) -> tuple[Cause, ...]:
    """Causes with weights that sum to 1, likeliest first, each with its evidence in words.

    The points of a service: its own kinds of signal (`OWN`), how far out it is, whether it was
    first, how many of the others call it, and less if something that it calls went out of order no
    later. Weights are the softmax of the points. Signals that are not among the `trusted` (all, if
    None) count little and never as first, and nor do those that tell of a handful of requests.
    Onsets as near as two reports, `pace_ms` apart, count as one.
    """
    if not signals:
        return ()
    trusted = signals if trusted is None else trusted
    telling = [signal for signal in trusted if not is_of_few(signal, signals)]
    case = _Case(signals, graph, telling or trusted, pace_ms)
    found = [(*case.judge(name), name) for name in case.suspects()]
    found.sort(key=lambda item: (-item[0], item[2]))
    found = found[:MAX_CAUSES]
    top = found[0][0]
    powers = [math.exp(points - top) for points, _, _ in found]
    total = sum(powers)
    weights = [math.floor(power / total * 10_000) / 10_000 for power in powers]
    weights[0] = round(weights[0] + 1 - sum(weights), 4)
    return tuple(
        Cause(service=name, weight=weight, evidence=evidence)
        for weight, (_, evidence, name) in zip(weights, found, strict=True)
    )


class _Case:
    """The signals of one incident, sorted for judging each service by them."""

    def __init__(
        self,
        signals: Sequence[Signal],
        graph: ServiceGraph,
        trusted: Collection[Signal],
        pace_ms: int,
    ) -> None:
        self.at_once_ms = max(ONSET_TOLERANCE_MS, pace_ms)
        self.late_ms = max(LATE_MS, 3 * pace_ms)
        self.graph = graph
        self.by_service: dict[str, list[Signal]] = {}
        self.sure: dict[str, list[Signal]] = {}
        for signal in signals:
            self.by_service.setdefault(signal.service, []).append(signal)
        for signal in trusted:
            self.sure.setdefault(signal.service, []).append(signal)
        self._bear_out(signals)
        self.first_ms = min(s.first_ms for s in plain_first(list(trusted) or signals))
        self.onset_ms = _onsets(signals, self.sure)
        self.fan_out = _fan_out(signals)
        self.carrying = {s.service for s in signals if meaning(s) in CARRIED}
        # Surely out of order, and in a way that its callers would feel.
        self.explaining = {
            s.service for s in signals if meaning(s) not in TELLS_NOTHING and self._is_sure(s)
        }

    def suspects(self) -> list[str]:
        """Services with signals, and callers whose calls to several others all lose time."""
        return sorted({*self.by_service, *self.fan_out})

    def judge(self, name: str) -> tuple[float, tuple[str, ...]]:
        """The points of one service, and why."""
        points, evidence = self._own_signs(name)
        if behind := self._behind(name):
            return 0.0, (
                *evidence,
                f"but it stands in front of {_names(behind)}, also out of order",
            )
        for more, why in (self._onset(name), self._fan(name), self._chain(name)):
            points += more
            evidence += why
        return points, tuple(evidence)

    def _own_signs(self, name: str) -> tuple[float, list[str]]:
        own = self.by_service.get(name, [])
        if not own:
            return 0.0, []
        worth: dict[AnomalyKind, float] = {}
        for signal in own:
            kind = meaning(signal)
            worth[kind] = max(worth.get(kind, 0.0), self._worth(signal))
        best = max(worth, key=lambda kind: (worth[kind], kind))
        points = worth[best] + 0.2 * sum(worth[kind] for kind in worth if kind != best)
        points += max((far_out(s) for s in self.sure.get(name, [])), default=0.0)
        shown = min(
            (s for s in own if meaning(s) == best),
            key=lambda s: (s.first_ms, -s.score, bool(s.operation or s.caller)),
        )
        return points, [plain(shown)]

    def _worth(self, signal: Signal) -> float:
        worth = OWN[meaning(signal)]
        if signal.kind == "network" and signal.caller in self.fan_out:
            worth *= UNSURE
        if signal.first_ms - self.first_ms > self.late_ms:
            worth *= LATE
        return worth if self._is_sure(signal) else worth * UNSURE

    def _is_sure(self, signal: Signal) -> bool:
        """Whether it is trusted, or borne out by a caller."""
        return signal in self.sure.get(signal.service, ())

    def _bear_out(self, signals: Sequence[Signal]) -> None:
        """Trusts what a caller bears out."""
        borne = [s for s in signals if not self._is_sure(s) and self._is_borne_out(s)]
        for signal in borne:
            self.sure.setdefault(signal.service, []).append(signal)

    def _is_borne_out(self, signal: Signal) -> bool:
        """Whether a caller has a trusted sign of the same meaning, as carried up from here, at the
        same time."""
        kind = meaning(signal)
        return kind in CARRIED and any(
            meaning(other) == kind and abs(other.first_ms - signal.first_ms) <= self.at_once_ms
            for caller in self.graph.above(signal.service)
            for other in self.sure.get(caller, ())
            if signal.service not in self.graph.above(caller)
        )

    def _onset(self, name: str) -> tuple[float, list[str]]:
        onset_ms = self.onset_ms.get(name)
        if name not in self.sure or onset_ms is None:
            return 0.0, []
        if onset_ms - self.first_ms > self.at_once_ms:
            return 0.0, []
        several = len(self.sure) > 1
        return 0.8, [f"among the first to change, at {clock(onset_ms)}"] if several else []

    def _fan(self, name: str) -> tuple[float, list[str]]:
        callees = self.fan_out.get(name)
        if not callees:
            return 0.0, []
        return 2.0, [f"its calls to {_names(callees)} all lose time, and nobody else's do"]

    def _chain(self, name: str) -> tuple[float, list[str]]:
        """More for explaining its callers, less for being explained by its callees."""
        points, evidence = 0.0, []
        callers = [n for n in sorted(self.graph.above(name)) if n in self.carrying and n != name]
        callers = [n for n in callers if self._precedes(name, n)]
        if callers:
            felt = sum(1.0 if n in self.sure else UNSURE for n in callers)
            points += min(0.5 * felt, 1.5)
            evidence.append(f"called by {_names(callers)}, also out of order")
        kinds = {s.kind for s in self.by_service.get(name, ())}
        callees = [n for n in sorted(self.graph.below(name)) if n in self.explaining and n != name]
        callees = [n for n in callees if n not in self.graph.above(name)]
        callees = [n for n in callees if self._precedes(n, name)]
        if callees and "saturation" not in kinds and name not in self.fan_out:
            points -= 1.2
            who = "itself" if len(callees) == 1 else "themselves"
            evidence.append(f"but it calls {_names(callees)}, out of order {who}")
        return points, evidence

    def _behind(self, name: str) -> list[str]:
        """What else shows signs, if a service only tells what users feel and is not in the graph:
        gateways report for themselves and are not traced, and what they feel comes from behind."""
        own = [s for s in self.by_service.get(name, ()) if meaning(s) not in TELLS_NOTHING]
        if not (own and self.graph) or name in self.graph or not {*map(meaning, own)} <= FELT:
            return []
        latest_ms = max(s.first_ms for s in own) + self.at_once_ms
        return sorted(
            other
            for other, signals in self.by_service.items()
            if other in self.graph
            and any(s.first_ms <= latest_ms and meaning(s) not in TELLS_NOTHING for s in signals)
        )

    def _precedes(self, callee: str, caller: str) -> bool:
        """Whether the callee went out of order no later than the caller, or the caller never."""
        callee_ms, caller_ms = self.onset_ms.get(callee), self.onset_ms.get(caller)
        if callee_ms is None:
            return False
        return caller_ms is None or callee_ms - caller_ms <= self.at_once_ms


def _onsets(signals: Sequence[Signal], sure: Mapping[str, Sequence[Signal]]) -> dict[str, int]:
    """When each service went out of order, by its trusted signs if it has any."""
    found: dict[str, int] = {}
    for signal in signals:
        name = signal.service
        if meaning(signal) not in TELLS_NOTHING and (name not in sure or signal in sure[name]):
            found[name] = min(found.get(name, signal.first_ms), signal.first_ms)
    return found


def _fan_out(signals: Sequence[Signal]) -> dict[str, list[str]]:
    """Callers whose calls to two services or more lose time, and only theirs.

    Then it is not those services that are far away, but the caller that is slow to notice.
    """
    callers: dict[str, set[str]] = {}
    callees: dict[str, set[str]] = {}
    for signal in signals:
        if signal.kind == "network" and signal.caller:
            callers.setdefault(signal.service, set()).add(signal.caller)
            callees.setdefault(signal.caller, set()).add(signal.service)
    lone = {
        caller: sorted(name for name in names if callers[name] == {caller})
        for caller, names in callees.items()
    }
    return {
        caller: names
        for caller, names in lone.items()
        if len(names) >= 2 and len(names) == len(callees[caller])
    }


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(names[:4]) + more


def is_clear(causes: Sequence[Cause], signals: Iterable[Signal]) -> bool:
    """Whether the first cause stands out, and by a sign that points at that very service."""
    if not causes or causes[0].weight < CLEAR_WEIGHT:
        return False
    return any(s.service == causes[0].service and OWN[meaning(s)] >= OWN_IS_CLEAR for s in signals)
