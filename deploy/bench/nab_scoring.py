"""The rules by which the Numenta Anomaly Benchmark scores a detector.

References
----------
Lavin, A. and Ahmad, S. (2015). Evaluating Real-time Anomaly Detection Algorithms: the Numenta
Anomaly Benchmark. The sweep over thresholds follows the benchmark's own program, version 1.1.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deploy.bench.nab_corpus import Series, Window

Floats = NDArray[np.float64]
PROBATION_RATIO = 0.15
PROBATION_ROWS = 750


class Profile(NamedTuple):
    """What a false alarm and a miss cost; a found window gives at most 1."""

    false_alarm: float
    miss: float


STANDARD = Profile(false_alarm=0.11, miss=1.0)
REWARD_LOW_FP = Profile(false_alarm=0.22, miss=1.0)
REWARD_LOW_FN = Profile(false_alarm=0.11, miss=2.0)


class Curve(NamedTuple):
    """The normalised score of one set of series for every threshold that changes anything.

    `thresholds` descend; `scores[i]` is what `score >= thresholds[i]` as the alarm gives. 0 is a
    detector that never says anything, 100 one that alarms at the first row of every window and
    never elsewhere.
    """

    thresholds: Floats
    scores: Floats

    def best(self) -> tuple[float, float]:
        """The highest score, and the threshold that gives it; infinite if silence is best."""
        at = int(np.argmax(self.scores))
        return float(self.scores[at]), float(self.thresholds[at])

    def at(self, threshold: float) -> float:
        """The score with this threshold."""
        passed = int(np.searchsorted(-self.thresholds, -threshold, side="right"))
        return float(self.scores[passed - 1])


def probation_rows(rows: int) -> int:
    """Rows at the beginning of a file that are not scored: a detector learns there."""
    return min(int(PROBATION_RATIO * rows), PROBATION_ROWS)


def rewards(rows: int, windows: Sequence[Window]) -> tuple[Floats, NDArray[np.int64]]:
    """What an alarm at each row gives, 1 to -1 before costs, and the row's window, -1 if none.

    Within a window it is a sigmoid that falls from 1 at its first row to nearly 0 at its last. A
    false alarm soon after a window costs less than one far from any.
    """
    reward = np.full(rows, -1.0)
    window_of = np.full(rows, -1, dtype=np.int64)
    at = np.arange(rows)
    for number, (first, last) in enumerate(windows):
        width = last - first + 1
        inside = slice(first, last + 1)
        reward[inside] = _sigmoid(-(last - at[inside] + 1) / width) / _sigmoid(np.array(-1.0))
        window_of[inside] = number
        end = windows[number + 1].first if number + 1 < len(windows) else rows
        after = slice(last + 1, end)
        reward[after] = _sigmoid((at[after] - last) / max(width - 1, 1))
    return reward, window_of


def _sigmoid(position: Floats) -> Floats:
    """The scaled sigmoid; `position` is -1 at a window's first row and 0 at its end."""
    scaled = 2 / (1 + np.exp(5 * np.minimum(position, 3.0))) - 1
    return np.where(position > 3.0, -1.0, scaled)


def curve(scores: Mapping[str, Floats], corpus: Sequence[Series], profile: Profile) -> Curve:
    """Sweeps one threshold for all of `corpus` over all `scores`, by name of the series.

    Raises `ValueError` if a series has not one score a row.
    """
    levels: list[Floats] = [np.array([np.inf])]
    gains: list[Floats] = [np.array([0.0])]
    for series in corpus:
        own = np.asarray(scores[series.name], dtype=np.float64)
        if own.shape != (len(series.values),):
            message = f"{len(series.values)} rows but {own.shape} scores"
            raise ValueError(f"{series.name}: {message}; give one score a row")
        level, gain = _gains(own, series.windows, profile)
        levels.append(level)
        gains.append(gain)
    level, gain = np.concatenate(levels), np.concatenate(gains)
    order = np.argsort(-level, kind="stable")
    level, total = level[order], np.cumsum(gain[order])
    last_of_level = np.append(level[1:] != level[:-1], True)
    windows = sum(len(series.windows) for series in corpus)
    # Null and perfect detector: every window missed, and every window found at its first row.
    span = windows * (1 + profile.miss) or 1.0
    return Curve(level[last_of_level], 100 * total[last_of_level] / span)


def _gains(scores: Floats, windows: Sequence[Window], profile: Profile) -> tuple[Floats, Floats]:
    """What each scored row adds to the sum once the threshold has come down to its score.

    In a window only the best alarm counts, so a row adds what it gives beyond those of higher
    scores; the first to come also takes back the cost of the miss.
    """
    rows = len(scores)
    reward, window_of = rewards(rows, windows)
    start = probation_rows(rows)
    gain = np.where(window_of < 0, profile.false_alarm * reward, 0.0)
    for first, last in windows:
        inside = np.arange(max(first, start), last + 1)
        if inside.size:
            inside = inside[np.argsort(-scores[inside], kind="stable")]
            best = np.maximum.accumulate(reward[inside])
            gain[inside] = np.diff(best, prepend=-profile.miss)
    return scores[start:], gain[start:]


class Alarms(NamedTuple):
    """What one threshold gives in plain counts.

    A false alarm is a run of neighbouring rows outside of all windows at or above the threshold.
    """

    found: int
    windows: int
    false: int
    false_rows: int
    days: float


def alarms(scores: Mapping[str, Floats], corpus: Sequence[Series], threshold: float) -> Alarms:
    """Counts over all scored rows of a corpus; `days` is the time that they cover, summed."""
    found = windows = false = false_rows = 0
    days = 0.0
    for series in corpus:
        start = probation_rows(len(series.values))
        alarm = np.asarray(scores[series.name]) >= threshold
        alarm[:start] = False
        for first, last in series.windows:
            windows += 1
            found += bool(alarm[first : last + 1].any())
            alarm[first : last + 1] = False
        false_rows += int(alarm.sum())
        false += int((alarm & ~np.append(False, alarm[:-1])).sum())
        scored = series.times_ms[start:]
        days += (max(scored) - min(scored)) / 86_400_000
    return Alarms(found, windows, false, false_rows, days)


class Half(NamedTuple):
    """One half of the corpus by name: the even files, or the odd ones."""

    files: int
    standard: float
    threshold: float
    standard_at_other_threshold: float


class Report(NamedTuple):
    """The three profiles and the halves, each with the thresholds that give them."""

    standard: float
    reward_low_fp: float
    reward_low_fn: float
    threshold: float
    halves: tuple[Half, Half]
    standard_curve: Curve


def score_corpus(scores: Mapping[str, Floats], corpus: Sequence[Series]) -> Report:
    """Scores a detector by its scores, one a row of every series, by the series' names."""
    standard = curve(scores, corpus, STANDARD)
    best, threshold = standard.best()
    return Report(
        standard=best,
        reward_low_fp=curve(scores, corpus, REWARD_LOW_FP).best()[0],
        reward_low_fn=curve(scores, corpus, REWARD_LOW_FN).best()[0],
        threshold=threshold,
        halves=_halves(scores, corpus),
        standard_curve=standard,
    )


def _halves(scores: Mapping[str, Floats], corpus: Sequence[Series]) -> tuple[Half, Half]:
    by_name = sorted(corpus, key=lambda series: series.name)
    even, odd = (curve(scores, by_name[start::2], STANDARD) for start in (0, 1))
    counts = (len(by_name[0::2]), len(by_name[1::2]))
    (best_even, at_even), (best_odd, at_odd) = even.best(), odd.best()
    return (
        Half(counts[0], best_even, at_even, even.at(at_odd)),
        Half(counts[1], best_odd, at_odd, odd.at(at_even)),
    )
