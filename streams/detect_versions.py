"""What the detect stage's snapshot holds, and how this release reads the ones before it.

Parts of version 4, in this order: the aligner's bytes; the last tick, Unix milliseconds; the bank
(see `Bank.dump`: what fleets have in common, then `[name, service, kind, last_ms, since_ms,
[[detector class, its state], …]]` for each series, then the parts of the novelty bank); the
silence watch; log templates; steps; calls. Version 5 has after these what was shed last: the tier
that was still read, and the end of the window. Version 6 counts what failed in shares of failures.
"""

from collections.abc import Callable
from typing import Any, Final

from streams.versions import Ladder

BANK: Final = 2
"""Which part of a snapshot is the bank; the version itself is not counted."""


def each_detector(
    parts: list[Any], detector: str, change: Callable[[list[Any]], list[Any]]
) -> list[Any]:
    """The snapshot with the states of all detectors of the class `detector` changed.

    For steps: a field more, less or in another unit in what a detector of one series keeps.
    """
    fleets, series, *rest = parts[BANK]
    changed = [
        [*head, [[name, change(state) if name == detector else state] for name, state in learnt]]
        for *head, learnt in series
    ]
    return [*parts[:BANK], [fleets, changed, *rest], *parts[BANK + 1 :]]


def _5(parts: list[Any]) -> list[Any]:
    """The seasonal detectors of gauges are saved in the parts of the bank, with their novelty.

    Nothing is moved here: a seasonal detector that was saved by itself is put into the bank when it
    is read, and so is a part that holds only novelty. The step says that earlier releases cannot
    read what this one writes. A detector of failing shares counts the run above its bounds as all
    others do, with the level from before, of which there is none yet. What an overloaded worker has
    left out comes last: nothing until now.
    """
    return [*each_detector(parts, "FailureShareDetector", _with_shift), None]


def _with_shift(state: list[Any]) -> list[Any]:
    *learnt, out, since_ms, mean, calibrator = state
    return [*learnt, [out, since_ms, mean, 0.0, 0.0, 0, 0], calibrator]


def _6(parts: list[Any]) -> list[Any]:
    """A detector of failing shares counts the samples that failed; how many of the earlier ones is
    not known, so a young one is taken for a wild one."""
    return each_detector(parts, "FailureShareDetector", lambda state: [*state, state[1]])


DETECT: Final = Ladder("the detect stage", oldest=4, steps=(_5, _6))
