"""What the detect stage's snapshot holds, and how this release reads the ones before it.

Parts of version 4, in this order: the aligner's bytes; the last tick, Unix milliseconds; the bank
(see `Bank.dump`: what fleets have in common, then `[name, service, kind, last_ms, since_ms,
[[detector class, its state], …]]` for each series, then the parts of the novelty bank); the
silence watch; log templates; steps; calls.
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


DETECT: Final = Ladder("the detect stage", oldest=4, steps=())
