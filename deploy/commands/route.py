"""`tocsin route`: who would be told of an incident, without anything running."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import msgspec
from rich.console import Console
from rich.markup import escape

from deploy.commands.moments import NoMomentError, moment_ms
from deploy.configuration import load
from deploy.console import new_console
from deploy.routing_tests import MadeUp, MadeUpError, made_up
from schemas.incidents import Incident, IncidentEvent, Severity
from schemas.reading import UNREADABLE
from schemas.times import stamp
from sinks.notifier.plan import Plan, plan


def run_route(
    test: Sequence[str],
    *,
    config: Path | None,
    at: str | None,
    recorded: Path | None,
    incident: str | None,
    json: Path | None,
) -> int:
    """Prints who would be told what; 1 if nobody would be, 2 if the question makes no sense."""
    configuration = load(config)
    try:
        at_ms = moment_ms(at)
        if recorded is not None:
            event = _recorded(recorded, incident)
        else:
            event = made_up(_parsed(test), configuration.catalogue, at_ms)
    except (NoMomentError, MadeUpError) as error:
        print(error, file=sys.stderr)
        return 2
    found = plan(configuration, event, at_ms)
    show(new_console(), event, found)
    if json is not None:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2))
    return 0 if found.names() or found.paged_names() else 1


def show(console: Console, event: IncidentEvent, found: Plan) -> None:
    """Prints a plan."""

    def say(text: str) -> None:
        console.print(text, soft_wrap=True, highlight=False)

    incident = event.incident
    what = f"{incident.severity} of {', '.join(incident.services)}"
    say(f"{event.type.replace('_', ' ')}, {escape(what)}, at {stamp(found.at_ms)} UTC")
    for told in found.told:
        said = f"{told.stage.replace('_', ' ')} by {escape(told.channel)}"
        if told.withheld is not None:
            said = f"[yellow]nothing[/]: {escape(told.withheld)}"
        elif told.held_until_ms is not None:
            said += f" [yellow]in a digest at {stamp(told.held_until_ms)}[/]: quiet hours"
        say(f"  {escape(told.recipient)} ({told.audience}), rule {escape(told.rule)}: {said}")
    for step in found.paged:
        names = ", ".join(escape(name) for name in step.recipients) or "[red]nobody[/]"
        gaps = f" (nobody is on call by {', '.join(step.nobody)})" if step.nobody else ""
        say(f"  {stamp(step.at_ms)}  page {names}{escape(gaps)}, {step.policy}: {step.label}")
    for schedule in found.nobody_on_call:
        say(f"  [red]nobody[/] is on call by {escape(schedule)}")
    if not found.told and not found.paged:
        say("  nobody is told: no route, escalation or subscription matches")


def _parsed(test: Sequence[str]) -> MadeUp:
    """`service=cart severity=P1` as a made-up incident. Raises `MadeUpError`."""
    values: dict[str, object] = {}
    for each in test:
        name, equals, value = each.partition("=")
        if not equals:
            raise MadeUpError(f"{each!r} is no NAME=VALUE, such as severity=P1 or services=cart")
        name = {"service": "services", "segment": "segments", "region": "regions"}.get(name, name)
        listed = name in ("services", "segments", "regions")
        values[name] = [part for part in value.split(",") if part] if listed else value
    try:
        return msgspec.convert(values, MadeUp)
    except msgspec.ValidationError as error:
        raise MadeUpError(_why(test, error)) from error


def _why(test: Sequence[str], error: msgspec.ValidationError) -> str:
    said = str(error)
    if "missing required field `services`" in said:
        return "say whose incident, such as services=cart severity=P1, or --from a recorded one"
    if "$.severity" in said:
        return f"{' '.join(test)}: the severity is one of {', '.join(get_args(Severity))}"
    return f"{' '.join(test)}: {said}"


def _recorded(file: Path, incident_id: str | None) -> IncidentEvent:
    """An incident, or an event of one, of a file that `tocsin replay` has written."""
    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        raise MadeUpError(f"{file} cannot be read: {error.strerror or error}") from error
    for line in lines:
        found = _event_in(line)
        if found is not None and incident_id in (None, found.incident_id):
            return found
    which = f"incident {incident_id}" if incident_id else "incident"
    raise MadeUpError(f"{file} holds no {which}, one a line")


def _event_in(line: bytes) -> IncidentEvent | None:
    try:
        return msgspec.json.decode(line, type=IncidentEvent)
    except UNREADABLE:
        pass
    try:
        incident = msgspec.json.decode(line, type=Incident)
    except UNREADABLE:
        return None
    return IncidentEvent(
        incident_id=incident.id,
        version=incident.version,
        type="opened",
        time_ms=incident.opened_ms,
        actor="tocsin",
        text=incident.title,
        incident=incident,
    )
