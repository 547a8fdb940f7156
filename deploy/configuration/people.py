"""Mistakes in who is told: schedules, escalations, quiet hours and what they name."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from unicodedata import category

from schemas.configuration import Configuration, Notifier
from schemas.oncall import Schedule
from sinks.notifier.oncall.calendar import CalendarError
from sinks.notifier.oncall.files import known_by, read_roster
from sinks.notifier.oncall.walltime import (
    WallTimeError,
    parse_day,
    parse_moment_ms,
    zone_of,
)

Found = Iterator[tuple[str, str]]


def wrong_people(configuration: Configuration) -> Found:
    """Every name that is nobody's, every time or zone that there is not, with its path."""
    section = configuration.notifier
    yield from _given_names(section)
    yield from _names(section)
    yield from _zones(section)
    for index, schedule in enumerate(section.schedules):
        wrong = list(_times(schedule, f"notifier.schedules[{index}]"))
        yield from wrong
        if not wrong and _is_zone(schedule.time_zone):
            yield from _calendars(section, schedule, f"notifier.schedules[{index}]")


def _given_names(section: Notifier) -> Found:
    """Names that two share, or that are none."""
    for kind, named in (
        ("schedules", [each.name for each in section.schedules]),
        ("escalations", [each.name for each in section.escalations]),
    ):
        counts = Counter(named)
        for index, name in enumerate(named):
            if counts[name] > 1:
                yield f"notifier.{kind}[{index}].name", f"{name!r} is named more than once"
    for index, recipient in enumerate(section.recipients):
        if not recipient.name.strip():
            yield f"notifier.recipients[{index}].name", "is empty; give everybody a name"
        elif any(category(character) in ("Cc", "Zl", "Zp") for character in recipient.name):
            yield f"notifier.recipients[{index}].name", "has a line break or another control in it"
    recipients = {recipient.name for recipient in section.recipients}
    for index, schedule in enumerate(section.schedules):
        if schedule.name in recipients:
            path = f"notifier.schedules[{index}].name"
            yield path, f"{schedule.name!r} is a recipient's name too; give one another name"


def _names(section: Notifier) -> Found:
    """Names that are neither a recipient nor, where that may stand, a schedule."""
    recipients = {recipient.name for recipient in section.recipients}
    anybody = recipients | {schedule.name for schedule in section.schedules}
    policies = {policy.name for policy in section.escalations}
    roles = {role for recipient in section.recipients for role in recipient.roles}

    def strange(path: str, names: Sequence[str], known: set[str], what: str) -> Found:
        for place, name in enumerate(names):
            if name not in known:
                listed = ", ".join(sorted(known)) or "(there are none)"
                yield f"{path}[{place}]", f"{name!r} is none of the {what} {listed}"

    is_default = section.routes == Notifier().routes
    if is_default and (gone := set(section.routes[0].recipients) - recipients):
        yield (
            "notifier.routes",
            f"is missing: without it everything goes to {', '.join(gone)}, who is none of the "
            "recipients here; say who is told what, such as {name: all, recipients: ["
            f"{', '.join(sorted(recipients))}]}}",
        )
    for index, route in enumerate(() if is_default else section.routes):
        path = f"notifier.routes[{index}]"
        what = "recipients and schedules" if section.schedules else "recipients"
        yield from strange(f"{path}.recipients", route.recipients, anybody, what)
        yield from strange(f"{path}.roles", route.roles, roles, "roles of recipients")
        if route.escalation is not None and route.escalation not in policies:
            listed = ", ".join(sorted(policies)) or "(there are none)"
            yield (
                f"{path}.escalation",
                f"{route.escalation!r} is none of the escalations {listed}",
            )
    for index, policy in enumerate(section.escalations):
        for number, step in enumerate(policy.steps):
            path = f"notifier.escalations[{index}].steps[{number}].notify"
            yield from strange(path, step.notify, anybody, "recipients and schedules")
    path = "notifier.cadence.escalate_to"
    yield from strange(path, section.cadence.escalate_to, anybody, "recipients and schedules")
    for index, schedule in enumerate(section.schedules):
        path = f"notifier.schedules[{index}]"
        for number, layer in enumerate(schedule.layers):
            here = f"{path}.layers[{number}].people"
            yield from strange(here, layer.people, recipients, "recipients")
        for number, override in enumerate(schedule.overrides):
            if override.person not in recipients:
                yield (
                    f"{path}.overrides[{number}].person",
                    f"{override.person!r} is none of the recipients",
                )
        for number, swap in enumerate(schedule.swaps):
            here = f"{path}.swaps[{number}].people"
            yield from strange(here, swap.people, recipients, "recipients")


def _zones(section: Notifier) -> Found:
    for kind, zones in (
        ("recipients", [each.time_zone for each in section.recipients]),
        ("schedules", [each.time_zone for each in section.schedules]),
        ("escalations", [each.time_zone for each in section.escalations]),
    ):
        for index, zone in enumerate(zones):
            yield from _wrong(f"notifier.{kind}[{index}].time_zone", partial(zone_of, zone))


def _times(schedule: Schedule, path: str) -> Found:
    """Days that are in no calendar, and spans that end before they begin."""
    for number, layer in enumerate(schedule.layers):
        yield from _wrong(f"{path}.layers[{number}].start", partial(parse_day, layer.start))
    utc = zone_of("UTC")
    spans = [
        *((f"overrides[{n}]", each.start, each.until) for n, each in enumerate(schedule.overrides)),
        *((f"swaps[{n}]", each.start, each.until) for n, each in enumerate(schedule.swaps)),
    ]
    for where, start, until in spans:
        try:
            if parse_moment_ms(start, utc) >= parse_moment_ms(until, utc):
                yield f"{path}.{where}.until", f"{until} is not after {start}"
        except WallTimeError as error:
            yield f"{path}.{where}", str(error)


def _calendars(section: Notifier, schedule: Schedule, path: str) -> Found:
    if not schedule.calendars:
        return
    try:
        read_roster(schedule, known_by(section.recipients))
    except CalendarError as error:
        yield f"{path}.calendars", str(error)


def _is_zone(name: str) -> bool:
    return not list(_wrong("", partial(zone_of, name)))


def _wrong(path: str, look: Callable[[], object]) -> Found:
    try:
        look()
    except WallTimeError as error:
        yield path, str(error)
