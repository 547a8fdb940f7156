"""`tocsin bench outlook`: how good the guesses about new incidents are, on closed ones.

Each closed incident of the logs is guessed from those closed before it opened, as the worker would
have done, and then learned (progressive validation). Beside it stand the plainest rules: the
category and the recovery seen most until then, and the median duration. Incidents of several logs
count as if one log followed the other.
"""

import sys
from bisect import bisect
from collections import Counter
from collections.abc import Sequence
from math import exp, log
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec
from rich.table import Table

from deploy.console import new_console
from schemas.incidents import IncidentEvent
from schemas.outlook import Outlook
from schemas.reading import said
from streams.outlook import Example, Lessons, Validation, example_of, features_of


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON of `tocsin bench outlook`."""

    closed_incidents: int
    least: int
    learned: Validation
    plain: Validation


def run_outlook(logs: Sequence[Path], *, least: int, json: Path | None) -> int:
    """Measures and prints; returns the exit code."""
    try:
        cases: list[Case] = []
        for path in logs:
            cases += cases_in(path, len(cases))
    except (OSError, ValueError) as error:
        print(f"tocsin bench outlook: {said(error)}", file=sys.stderr)
        return 2
    report = Report(
        closed_incidents=len(cases),
        least=least,
        learned=learned(cases, least),
        plain=plain(cases, least),
    )
    if json is not None:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    _print(report)
    return 0


class Case(NamedTuple):
    """An incident that ended, and how many had ended in all the logs when it opened."""

    example: Example
    known: int


def cases_in(path: Path, before: int = 0) -> list[Case]:
    """The closed or resolved incidents of a log, in the order in which they ended, after `before`
    of other logs.

    Raises `OSError`, or `ValueError` naming the line that is no incident event.
    """
    opened: dict[str, tuple[int, dict[str, float]]] = {}
    ended: dict[str, tuple[int, Example]] = {}
    decode = msgspec.json.Decoder(IncidentEvent).decode
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                event = decode(line)
            except msgspec.DecodeError as error:
                raise ValueError(
                    f"{path}:{number}: no incident event ({error}); write the log with "
                    "`tocsin replay --events FILE`"
                ) from error
            incident = event.incident
            opened.setdefault(incident.id, (number, features_of(incident, {})))
            ended.pop(incident.id, None)  # what is said of it last counts, and when
            if incident.state in ("resolved", "closed") and incident.false_alarm_by is None:
                ended[incident.id] = number, example_of(incident, opened[incident.id][1])
    ends = [number for number, _ in ended.values()]
    return [
        Case(example, before + bisect(ends, opened[name][0]))
        for name, (_, example) in ended.items()
    ]


def learned(cases: Sequence[Case], least: int) -> Validation:
    """How good what would have been said at each opening was."""
    lessons, guesses = Lessons(least), dict[int, Outlook | None]()
    waiting = sorted(range(len(cases)), key=lambda index: cases[index].known)
    opening = 0
    for count, case in enumerate(cases):
        while opening < len(waiting) and cases[waiting[opening]].known <= count:
            index = waiting[opening]
            guesses[index] = lessons.outlook(cases[index].example.features)
            opening += 1
        lessons.learn(msgspec.structs.replace(case.example, guess=guesses[count]))
    return lessons.validation()


def plain(cases: Sequence[Case], least: int) -> Validation:
    """The same with the plainest rules."""
    right: list[tuple[bool, bool]] = []
    errors: list[float] = []
    for example, known in cases:
        if known < least:
            continue
        before = [case.example for case in cases[:known]]
        category = Counter(e.category for e in before).most_common(1)[0][0]
        complexity = Counter(e.complexity for e in before).most_common(1)[0][0]
        right.append((category == example.category, complexity == example.complexity))
        expected = median(max(e.lasted_ms, 1_000) for e in before)
        errors.append(abs(log(max(example.lasted_ms, 1_000) / expected)))
    return Validation(
        examples=len(errors),
        category_right=_mean([category for category, _ in right]),
        complexity_right=_mean([complexity for _, complexity in right]),
        off_by=exp(median(errors)) if errors else None,
        within=None,
    )


def _mean(hits: Sequence[bool]) -> float | None:
    return sum(hits) / len(hits) if hits else None


def _print(report: Report) -> None:
    console = new_console()
    guessed = report.learned.examples
    table = Table(
        title=f"{report.closed_incidents} closed incidents, {guessed} of them guessed",
        title_justify="left",
    )
    for column in ("", "learned", "plainest rule"):
        table.add_column(column, justify="left" if not column else "right")
    learned, rule = report.learned, report.plain
    table.add_row("category right", _share(learned.category_right), _share(rule.category_right))
    table.add_row("recovery right", _share(learned.complexity_right), _share(rule.complexity_right))
    table.add_row("duration off by (median)", _factor(learned.off_by), _factor(rule.off_by))
    table.add_row("inside the span of four of five", _share(learned.within), "–")
    console.print(table)
    if not guessed:
        console.print(f"nothing is guessed from fewer than {report.least} closed incidents")


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


def _factor(value: float | None) -> str:
    return "–" if value is None else f"×{value:.2f}"
