"""What became of a drill: of each message, and of each person whom an escalation names."""

from collections.abc import Iterator, Sequence

import msgspec
from rich.markup import escape
from rich.table import Table

from deploy.console import new_console
from schemas.configuration import Configuration
from schemas.incidents import Delivery, IncidentEvent
from sinks.notifier.escalation.run import NEWS_IS_PAGE
from sinks.notifier.intake import router_of
from sinks.notifier.people import People

DRILL_ENDS = ("acknowledged by", "the incident is over")
"""Why pages are taken back as the drill comes to its end."""
ENDINGS = ("sent", "failed", "withheld", "held")


class Line(msgspec.Struct, frozen=True):
    """What became of one message of the drill. `seconds` are those until it was taken."""

    recipient: str
    audience: str
    channel: str
    rule: str
    subject: str
    status: str
    seconds: float | None
    detail: str
    is_failure: bool


class Result(msgspec.Struct, frozen=True):
    """What `--json` writes: `missing` are people whom an escalation names and who got no page."""

    drill: str
    service: str
    ok: bool
    messages: tuple[Line, ...]
    missing: tuple[str, ...]


def result_of(
    configuration: Configuration,
    opened: IncidentEvent,
    deliveries: Sequence[Delivery],
) -> Result:
    """What came of a drill that began with the event `opened`."""
    lines = tuple(lines_of(deliveries))
    missing = tuple(missing_of(configuration, opened, deliveries))
    is_told = any(line.status == "sent" for line in lines)
    return Result(
        drill=opened.incident_id,
        service=opened.incident.services[0],
        ok=is_told and not missing and not any(line.is_failure for line in lines),
        messages=lines,
        missing=missing,
    )


def lines_of(deliveries: Sequence[Delivery]) -> Iterator[Line]:
    """One line a message, in order of asking. A way that failed is a failure, also where the next
    one reached: that is what a drill is to find."""
    order: dict[str, list[Delivery]] = {}
    for made in sorted(deliveries, key=lambda d: (d.time_ms, d.attempt)):
        if made.status != "scheduled":
            order.setdefault(made.message_id, []).append(made)
    for steps in order.values():
        last = next((s for s in reversed(steps) if s.status in ENDINGS), steps[-1])
        asked = next((s for s in steps if s.status == "asked"), None)
        took = (last.time_ms - asked.time_ms) / 1000 if asked and last.status == "sent" else None
        gap = last.status == "withheld" and "nobody is on call" in last.detail
        if last.channel in ("escalation", "cadence") and not gap:
            continue  # what an escalation or a promise notes of itself, and is no message
        cut_off = _is_cut_off(steps)
        yield Line(
            recipient=last.recipient,
            audience=last.audience,
            channel=last.channel,
            rule=last.rule,
            subject=last.subject,
            status="no answer" if last.status == "asked" or cut_off else last.status,
            seconds=took,
            detail=last.detail,
            is_failure=gap or cut_off or last.status in ("failed", "asked"),
        )


def _is_cut_off(steps: Sequence[Delivery]) -> bool:
    """Whether the end of the drill took back what had gone out and never arrived: a receiver that
    hangs or fails is not made good by that."""
    said = {step.status for step in steps}
    was_asked = "asked" in said and "sent" not in said
    ends = [step.detail for step in steps if step.status == "withheld"]
    return was_asked and any(detail.startswith(DRILL_ENDS) for detail in ends)


def missing_of(
    configuration: Configuration, opened: IncidentEvent, deliveries: Sequence[Delivery]
) -> Iterator[str]:
    """People whom the steps of the escalations name, and whom no page of that step reached.

    News by a route that went the way of the page stands for it, as it does outside drills.
    """
    people = People(configuration)
    sent = {made.message_id for made in deliveries if made.status == "sent"}
    policies = {policy.name: policy for policy in configuration.notifier.escalations}
    for name in router_of(configuration).escalations(opened):
        policy = policies[name]
        if opened.incident.severity not in policy.severities:
            continue
        for number, step in enumerate(policy.steps, start=1):
            rule = f"{name}: step {number} of {len(policy.steps)}"
            pages = [made for made in deliveries if made.rule.startswith(rule)]
            paged = {made.recipient for made in pages if made.message_id in sent}
            paged |= _told_by_route(pages, deliveries)
            persons = [people.resolve(target, opened.time_ms) for target in step.notify]
            names = [person.name for person in persons if person is not None]
            if step.round_robin and paged & set(names):
                continue
            yield from (
                f"{person} (step {number} of {name})" for person in names if person not in paged
            )


def _told_by_route(pages: Sequence[Delivery], deliveries: Sequence[Delivery]) -> set[str]:
    """Who needed no page, since the news is one, and got it."""
    needless = {made.recipient for made in pages if made.detail == NEWS_IS_PAGE}
    reached = {made.recipient for made in deliveries if made.status == "sent"}
    return needless & reached


def show(result: Result) -> None:
    """Prints a line for each message, and who was not reached."""
    console = new_console()
    table = Table(title=f"{result.drill}: drill of {result.service}", title_justify="left")
    for column in ("recipient", "audience", "channel", "what", "result", "seconds"):
        table.add_column(column, overflow="fold")
    for line in result.messages:
        colour = "red" if line.is_failure else "green" if line.status == "sent" else "yellow"
        said = f"{line.status}: {line.detail}" if line.detail else line.status
        table.add_row(
            escape(line.recipient),
            line.audience,
            escape(line.channel),
            escape(line.subject or line.rule),
            f"[{colour}]{escape(said)}[/]",
            "" if line.seconds is None else f"{line.seconds:.1f}",
        )
    console.print(table)
    for name in result.missing:
        console.print(f"[red]not reached[/]  {escape(name)}")
    if not result.messages:
        console.print("[red]nobody was told[/]  is the notifier running, and does a route match?")
    verdict = "everybody was reached" if result.ok else "not everybody can be reached"
    console.print(verdict)
