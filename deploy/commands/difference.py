"""`tocsin replay --diff OLD`: what another configuration makes of the same recorded history."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deploy.commands.replay import CallsFileError, configured, replay
from deploy.console import new_console
from schemas.configuration import Configuration
from schemas.incidents import IncidentEvent
from schemas.reading import said
from schemas.times import duration, stamp
from sinks.notifier.routing import Router
from streams.difference import Difference, Told, compare, lives
from streams.files import EventFileError

_SAID = {
    "opened_only_by_new": "opened by the new one only",
    "opened_only_by_old": "opened by the old one only",
    "part_of_another": "not one incident by itself in both",
    "severity": "worst severity",
    "opened_ms": "opened at",
    "resolved_ms": "resolved at",
    "suspected_cause": "likely cause",
    "services": "services",
    "told": "who was told",
}


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON of `tocsin replay --diff`: how many incidents each has, and what differs."""

    old_incidents: int
    new_incidents: int
    differences: list[Difference]


def run_difference(
    files: Sequence[Path], *, new: Path | None, old: Path, calls: Path | None, json: Path | None
) -> int:
    """Replays with both configurations and says what differs; returns the exit code."""
    try:
        before, after = (_replayed(files, config, calls) for config in (old, new))
    except (EventFileError, CallsFileError, OSError, ValueError) as error:
        print(f"tocsin replay: {said(error)}", file=sys.stderr)
        return 2
    result = Comparison(
        old_incidents=len(before), new_incidents=len(after), differences=compare(before, after)
    )
    if json is not None:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
    _print(new_console(), result)
    return 0


def _replayed(files: Sequence[Path], config: Path | None, calls: Path | None) -> list[Told]:
    configuration = configured(config, calls)
    log, _ = replay(configuration, files)
    return lives(log, told_of(log, configuration))


def told_of(
    log: Iterable[IncidentEvent], configuration: Configuration
) -> dict[str, tuple[str, ...]]:
    """By incident id, the names of those whom the routes of the configuration would have told."""
    section = configuration.notifier
    recipients = {recipient.name: recipient for recipient in section.recipients}
    router = Router(section.routes, recipients, configuration.catalogue)
    told: dict[str, dict[str, str]] = {}
    for event in log:
        known = told.setdefault(event.incident_id, {})
        for decision in router.decide(event, known):
            if decision.withheld is None:
                known.setdefault(decision.recipient.name, decision.rule)
    return {name: tuple(sorted(known)) for name, known in told.items()}


def _print(console: Console, result: Comparison) -> None:
    if not result.differences:
        console.print(f"no difference: the same {result.new_incidents} incidents")
        return
    table = Table(title="What the new configuration does otherwise", title_justify="left")
    for column in ("incident", "what", "before", "after"):
        table.add_column(column, overflow="fold")
    for d in result.differences:
        before, after = _readable(d)
        name = d.new_id or d.old_id or ""
        table.add_row(f"{name}\n{escape(d.title)}", _SAID[d.what], escape(before), escape(after))
    console.print(table)
    console.print(f"{result.old_incidents} incidents before, {result.new_incidents} after")


def _readable(difference: Difference) -> tuple[str, str]:
    """Before and after, moments of time as dates and with how far they are apart."""
    before, after = difference.before, difference.after
    if not difference.what.endswith("_ms"):
        return before, after
    moments = [None if text == "None" else int(text) for text in (before, after)]
    told = ["still open" if moment is None else stamp(moment) for moment in moments]
    if moments[0] is not None and moments[1] is not None:
        apart_ms = moments[1] - moments[0]
        told[1] += f" ({duration(abs(apart_ms))} {'later' if apart_ms > 0 else 'earlier'})"
    return told[0], told[1]
