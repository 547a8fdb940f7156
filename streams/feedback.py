"""What people say of incidents moves the thresholds of the patterns that made them. Pure.

"This was no incident" raises the bar of every pattern that was reason enough for it: to just above
how far out it was, but by at most `MOST_STEP` at once and `MOST_RAISED` in all, so that a worse
outage of the same kind still comes through. "You missed something" lowers the bar of what stood out
a little on that service at that time, down to where evidence is told at all; what was far enough
out already, but not confirmed or too vague to be enough by itself, is trusted from then on. Both
halve with every half-life of event time, and are forgotten in the end.
"""

from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from schemas.anomalies import Anomaly
from schemas.incidents import Bar, Signal
from schemas.times import clock
from streams.bank import CORROBORATES_FROM
from streams.dossier import sign_of

MOST_STEP = 4.0
MOST_RAISED = 12.0
MOST_LOWERED = 2.5
MARGIN = 0.5
"""So far above the score of a false alarm, and below that of something missed."""
WHOLE_SERVICE = -0.5
"""For trouble of which nothing stood out: all patterns of the service are lowered so much."""
ANY = "any"
FORGOTTEN = 0.1
SLACK_MS = 120_000
"""People remember times about so well."""
MOST_PATTERNS = 3
"""Of what stood out while something was missed, so many are lowered, those furthest out."""
COMMON = 2
"""What stood out as much so many other times within a week is no sign of what was missed."""
BUCKET_MS = 300_000
REMEMBERED_MS = 7 * 86_400_000
MOST_SEEN = 1_000
MOST_BARS = 2_000
MOST_CLOSED = 1_000
MOST_SHOWN = 10

Sign = tuple[str, str, str]
"""Service, kind and measure; see `sign_of`."""


class Seen(msgspec.Struct, array_like=True, frozen=True):
    """How far out a pattern was within a few minutes, and what it would have taken."""

    at_ms: int
    sign: Sign
    score: float
    threshold: float


class Marks(msgspec.Struct, kw_only=True):
    """The state: the bars by pattern, what stood out lately, and what closed incidents showed."""

    bars: dict[str, Bar] = {}
    seen: dict[str, Seen] = {}
    closed: dict[str, list[Seen]] = {}


class Feedback:
    """Decides with people's feedback which anomalies open incidents.

    Parameters
    ----------
    half_life_ms
        After so much event time half of a shift is forgotten.
    marks
        The state.
    """

    def __init__(self, half_life_ms: int, marks: Marks | None = None) -> None:
        self.half_life_ms = half_life_ms
        self.marks = marks or Marks()

    def judge(self, anomaly: Anomaly) -> Anomaly:
        """The anomaly as it counts with what people have said of its pattern."""
        if anomaly.kind == "novelty" or (anomaly.forecast and anomaly.forecast.withdrawn):
            return anomaly  # evidence beside other evidence, and the end of a warning: never more
        sign, now_ms = sign_of(anomaly), anomaly.window_end_ms
        self._see(anomaly, sign)
        if not self.marks.bars:
            return anomaly
        bars = [bar for bar in self._bars(sign) if self._lives(bar, now_ms)]
        if not bars:
            return anomaly
        bar_height = self._height(bars, anomaly.threshold or anomaly.score, now_ms)
        trusted = anomaly.confirmed or any(self._is_trusted(bar, now_ms) for bar in bars)
        opens = trusted and anomaly.score >= bar_height
        if sum(self._shift(bar, now_ms) for bar in bars) > 0:
            opens = opens and anomaly.opens
        else:
            opens = opens or anomaly.opens
        return anomaly if opens == anomaly.opens else replace(anomaly, opens=opens)

    def vouches(self, anomaly: Anomaly) -> bool:
        """Whether people said of this pattern that it was enough, however vague it is."""
        now_ms = anomaly.window_end_ms
        bars = self._bars(sign_of(anomaly))
        return anomaly.opens and any(self._is_trusted(bar, now_ms) for bar in bars)

    # -- what people say -------------------------------------------------------------------

    def not_an_incident(
        self, signals: Iterable[Signal], actor: str, incident_id: str, now_ms: int
    ) -> list[Bar]:
        """Raises the bars of the patterns that were reason enough for an incident."""
        shown = [Seen(now_ms, sign_of(s), s.score, s.threshold or s.score) for s in signals]
        return self._raise(shown, actor, incident_id, now_ms)

    def was_not_an_incident(self, incident_id: str, actor: str, now_ms: int) -> list[Bar] | None:
        """The same for one that is closed; None if it is not remembered."""
        shown = self.marks.closed.pop(incident_id, None)
        return None if shown is None else self._raise(shown, actor, incident_id, now_ms)

    def _raise(self, shown: Iterable[Seen], actor: str, incident_id: str, now_ms: int) -> list[Bar]:
        worst = _worst(shown)
        raised = []
        for seen in worst.values():
            now = self._own_shift(seen.sign, now_ms)
            needed = seen.score - seen.threshold + MARGIN
            shift = min(max(now, min(needed, now + MOST_STEP)), MOST_RAISED)
            reason = f"{actor} said that {incident_id} was no incident"
            raised.append(self._put(seen.sign, shift, reason, now_ms))
        return raised

    def missed(self, service: str, from_ms: int, to_ms: int, actor: str, now_ms: int) -> list[Bar]:
        """Lowers the bars of what stood out a little on a service while something was missed."""
        near = [
            seen
            for seen in self.marks.seen.values()
            if seen.sign[0] == service
            and from_ms - SLACK_MS - BUCKET_MS < seen.at_ms <= to_ms + SLACK_MS
        ]
        reason = f"{actor} said that trouble at {clock(from_ms)} UTC was missed"
        if not near:
            sign = (service, ANY, ANY)
            shift = max(self._own_shift(sign, now_ms) + WHOLE_SERVICE, -MOST_LOWERED)
            return [self._put(sign, shift, f"{reason}; nothing stood out", now_ms)]
        rare = [seen for seen in _worst(near).values() if not self._is_common(seen, near)]
        rare.sort(key=lambda seen: (-seen.score, seen.sign))
        return [self._lower(seen, reason, now_ms) for seen in rare[:MOST_PATTERNS]]

    def _is_common(self, seen: Seen, near: Iterable[Seen]) -> bool:
        """Whether a pattern stood out as much at other times too: then it says nothing of this."""
        here = {other.at_ms for other in near}
        elsewhere = [
            other
            for other in self.marks.seen.values()
            if other.sign == seen.sign and other.score >= seen.score and other.at_ms not in here
        ]
        return len(elsewhere) >= COMMON

    def _lower(self, seen: Seen, reason: str, now_ms: int) -> Bar:
        now = self._own_shift(seen.sign, now_ms)
        needed = seen.score - seen.threshold - MARGIN
        shift = max(min(now, needed, 0.0), now - MOST_STEP, -MOST_LOWERED)
        # Far enough out, and yet not told: then it was its being unconfirmed or vague.
        trusted = seen.score >= seen.threshold + max(now, 0.0)
        return self._put(seen.sign, shift, reason, now_ms, trusted=trusted)

    # -- the bars --------------------------------------------------------------------------

    def told(self, signs: Iterable[Sign], now_ms: int) -> tuple[Bar, ...]:
        """The bars that concern any of the patterns, as they are now."""
        found = {
            key: replace(bar, shift=round(self._shift(bar, now_ms), 2), as_of_ms=now_ms)
            for sign in signs
            for key, bar in ((_key(s), self.marks.bars.get(_key(s))) for s in _levels(sign))
            if bar is not None and self._lives(bar, now_ms)
        }
        return tuple(found[key] for key in sorted(found))

    def _bars(self, sign: Sign) -> list[Bar]:
        bars = self.marks.bars
        return [bar for s in _levels(sign) if (bar := bars.get(_key(s))) is not None]

    def _height(self, bars: Iterable[Bar], threshold: float, now_ms: int) -> float:
        shift = sum(self._shift(bar, now_ms) for bar in bars)
        return max(threshold + max(shift, -MOST_LOWERED), CORROBORATES_FROM)

    def _shift(self, bar: Bar, now_ms: int) -> float:
        """What is left of a shift; what is nearly nothing is nothing."""
        age_ms = max(now_ms - bar.as_of_ms, 0)
        shift: float = bar.shift * 0.5 ** (age_ms / self.half_life_ms)
        return shift if abs(shift) >= FORGOTTEN else 0.0

    def _lives(self, bar: Bar, now_ms: int) -> bool:
        return self._shift(bar, now_ms) != 0.0 or self._is_trusted(bar, now_ms)

    def _is_trusted(self, bar: Bar, now_ms: int) -> bool:
        return bar.trusted and now_ms - bar.as_of_ms < self.half_life_ms

    def _own_shift(self, sign: Sign, now_ms: int) -> float:
        bar = self.marks.bars.get(_key(sign))
        return 0.0 if bar is None else self._shift(bar, now_ms)

    def _put(
        self, sign: Sign, shift: float, reason: str, now_ms: int, *, trusted: bool = False
    ) -> Bar:
        service, kind, measure = sign
        bar = self.marks.bars[_key(sign)] = Bar(
            service=service,
            kind=kind,
            measure=measure,
            shift=round(shift, 3),
            as_of_ms=now_ms,
            reason=reason,
            trusted=trusted,
        )
        self._forget(now_ms)
        return bar

    def adopt(self, other: "Feedback", now_ms: int) -> None:
        """Takes over the bars of another system, or of another time, as if they were set now."""
        bars = other.marks.bars.items()
        self.marks.bars = {key: replace(bar, as_of_ms=now_ms) for key, bar in bars}

    # -- what is remembered ----------------------------------------------------------------

    def _see(self, anomaly: Anomaly, sign: Sign) -> None:
        """Notes how far out a pattern was, once in a few minutes."""
        at_ms = anomaly.window_end_ms // BUCKET_MS * BUCKET_MS
        key = f"{at_ms}/{_key(sign)}"
        known = self.marks.seen.get(key)
        if known is None or anomaly.score > known.score:
            threshold = anomaly.threshold or anomaly.score
            self.marks.seen[key] = Seen(at_ms, sign, anomaly.score, threshold)
        if len(self.marks.seen) > MOST_SEEN:
            del self.marks.seen[next(iter(self.marks.seen))]

    def close(self, incident_id: str, signals: Iterable[Signal], now_ms: int) -> None:
        """Remembers of a closed incident what it showed, for those who look at it later."""
        shown = [Seen(now_ms, sign_of(s), s.score, s.threshold or s.score) for s in signals]
        self.marks.closed[incident_id] = list(_worst(shown).values())[:MOST_SHOWN]
        if len(self.marks.closed) > MOST_CLOSED:
            del self.marks.closed[next(iter(self.marks.closed))]

    def _forget(self, now_ms: int) -> None:
        marks = self.marks
        marks.seen = {k: s for k, s in marks.seen.items() if s.at_ms > now_ms - REMEMBERED_MS}
        marks.bars = {k: b for k, b in marks.bars.items() if self._lives(b, now_ms)}
        while len(marks.bars) > MOST_BARS:
            del marks.bars[next(iter(marks.bars))]


def _levels(sign: Sign) -> tuple[Sign, Sign]:
    """The pattern itself, and all of its service."""
    return sign, (sign[0], ANY, ANY)


def _key(sign: Sign) -> str:
    return "\0".join(sign)


def _worst(shown: Iterable[Seen]) -> dict[str, Seen]:
    """Each pattern where it was furthest out."""
    worst: dict[str, Seen] = {}
    for seen in shown:
        known = worst.get(_key(seen.sign))
        if known is None or seen.score > known.score:
            worst[_key(seen.sign)] = seen
    return worst


def words_of(bars: Iterable[Bar]) -> str:
    """What feedback has done, in a sentence: which bars went up or down by how much."""
    said = []
    for bar in bars:
        way = "raised" if bar.shift > 0 else "lowered"
        what = (
            f"{bar.service} {bar.kind} {bar.measure}"
            if bar.kind != ANY
            else (f"anything of {bar.service}")
        )
        trust = ", and trusted at once" if bar.trusted else ""
        said.append(f"{what}: {way} by {abs(bar.shift):.1f}{trust}")
    return "Thresholds: " + "; ".join(said) + "." if said else "No threshold was moved."
