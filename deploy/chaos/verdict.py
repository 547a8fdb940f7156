"""The two outcomes beside each other: what is lost, doubled, different or too much."""

from typing import Final

import msgspec

from deploy.chaos.outcome import Outcome

_EXAMPLES: Final = 12


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers of cells. `exact` says that every cell of the undisturbed run is there once, with
    the same content, and no other, and that everything was done in the end.

    lost: in the undisturbed run only. doubled: more than once, in a topic as every consumer reads
    it, in a store or at the receiver. differing: with another content. added: in the disturbed
    run only.
    """

    kills: int
    lost: int
    doubled: int
    differing: int
    added: int
    exact: bool
    cells: int
    unfinished: str = ""
    tables: dict[str, int] = msgspec.field(default_factory=dict)
    doubled_in: dict[str, int] = msgspec.field(default_factory=dict)
    examples: tuple[str, ...] = ()


def compare(expected: Outcome, found: Outcome, *, kills: int, unfinished: str = "") -> Verdict:
    """Judges a disturbed run by the undisturbed one."""
    lost: list[str] = []
    differing = [*(f"conflict: {where}" for where in found.conflicts)]
    added: list[str] = []
    for table in sorted(expected.cells.keys() | found.cells.keys()):
        before, after = expected.cells.get(table, {}), found.cells.get(table, {})
        lost += [f"lost: {table} {key}" for key in before if key not in after]
        added += [f"added: {table} {key}" for key in after if key not in before]
        differing += [
            f"differs: {table} {key}: {before[key][:200]!r}, now {after[key][:200]!r}"
            for key in before
            if key in after and before[key] != after[key]
        ]
    doubled = sum(found.repeats.values())
    some = [*lost[:_EXAMPLES], *added[:_EXAMPLES], *differing[:_EXAMPLES]]
    return Verdict(
        kills=kills,
        lost=len(lost),
        doubled=doubled,
        differing=len(differing),
        added=len(added),
        exact=not (lost or doubled or differing or added or unfinished),
        cells=sum(len(cells) for cells in expected.cells.values()),
        unfinished=unfinished,
        tables={table: len(cells) for table, cells in sorted(expected.cells.items())},
        doubled_in=dict(sorted(found.repeats.items())),
        examples=tuple(some),
    )
