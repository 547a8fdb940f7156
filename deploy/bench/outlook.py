"""`tocsin bench outlook`: how good the guesses about new incidents are, on closed ones.

Each closed incident of the logs is guessed from those closed before it opened, as the worker would
have done, and then learned (progressive validation). Beside it stand the plainest rules: the
category and the recovery seen most until then, and the median duration.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from math import exp, log
from pathlib import Path
from statistics import median

import msgspec
from rich.table import Table

from deploy.console import new_console
from schemas.incidents import IncidentEvent
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
        examples = [example for path in logs for example in examples_in(path)]
    except (OSError, ValueError) as error:
        print(f"tocsin bench outlook: {said(error)}", file=sys.stderr)
        return 2
    lessons = Lessons(least)
    for example in examples:
        lessons.learn(example)
    report = Report(
        closed_incidents=len(examples),
        least=least,
        learned=lessons.validation(),
        plain=plain(examples, least),
    )
    if json is not None:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    _print(report)
    return 0


def examples_in(path: Path) -> Iterable[Example]:
    """The closed or resolved incidents of a log, in the order in which they ended.

    Raises `OSError`, or `ValueError` naming the line that is no incident event.
    """
    opened: dict[str, dict[str, float]] = {}
    ended: dict[str, Example] = {}
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
            opened.setdefault(incident.id, features_of(incident, {}))
            if incident.state in ("resolved", "closed") and incident.false_alarm_by is None:
                ended[incident.id] = example_of(incident, opened[incident.id])
            else:
                ended.pop(incident.id, None)
    return ended.values()


def plain(examples: Sequence[Example], least: int) -> Validation:
    """The same with the plainest rules."""
    right: list[tuple[bool, bool]] = []
    errors: list[float] = []
    for number in range(least, len(examples)):
        before, example = examples[:number], examples[number]
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
