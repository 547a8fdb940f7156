"""Reads what somebody types in chat as a command. Pure."""

import re

import msgspec

from schemas.incidents import Command, CommandType, Severity
from schemas.times import moment_of

HELP = """\
ack [INC-…] [text]: I am on it
unack [INC-…]: I do not have it any more
note [INC-…] text: on the timeline
severity [INC-…] P1|P2|P3|P4 [text]
say [INC-…] text: tell the public
workaround [INC-…] text: tell customers what they can do in the meantime
expect [INC-…] 45m|1h30m [text]: when it will be over
approve [INC-…] · retract [INC-…]: what waits to be published, or was
no-change [INC-…] [text]: tell those outside that nothing has changed
resolve [INC-…] [text]
conclude [INC-…] reason | solution: afterwards, in customers' words
Without INC-… it is the incident of this channel or thread."""

_VERBS: dict[str, CommandType] = {
    "ack": "acknowledge",
    "acknowledge": "acknowledge",
    "unack": "unacknowledge",
    "unacknowledge": "unacknowledge",
    "note": "note",
    "severity": "set_severity",
    "say": "public_message",
    "workaround": "workaround",
    "expect": "expect",
    "approve": "approve",
    "retract": "retract",
    "resolve": "resolve",
    "no-change": "no_change",
    "conclude": "conclude",
}
_NEED_TEXT = ("note", "public_message", "workaround")
_INCIDENT = re.compile(r"(?:INC|DRILL)-[0-9A-Za-z]{1,40}$", re.IGNORECASE)
MAX_TEXT = 3000


class NotUnderstoodError(ValueError):
    """What was typed is no command; the text says what would be one."""


def parse(text: str, *, id: str, actor: str, issued_ms: int, incident_id: str | None) -> Command:
    """The command that a line is.

    Parameters
    ----------
    id
        Of what was typed, so that a repeat is harmless.
    incident_id
        The incident of the channel or thread in which it was typed, if there is one.

    Raises NotUnderstoodError.
    """
    verb, _, rest = text.strip().partition(" ")
    kind = _VERBS.get(verb.lower())
    if kind is None:
        raise NotUnderstoodError(HELP)
    named, _, after = rest.strip().partition(" ")
    if _INCIDENT.match(named):
        incident_id, rest = named.upper(), after
    if incident_id is None:
        raise NotUnderstoodError(f"Of which incident? Say: {verb} INC-… {rest}".strip())
    severity, expected_ms, solution = None, None, ""
    if kind == "set_severity":
        severity, rest = _severity(rest)
    elif kind == "expect":
        expected_ms, rest = _expected(rest, issued_ms)
    elif kind == "conclude":
        rest, solution = _concluded(rest, f"{verb} {incident_id}")
    rest = rest.strip()[:MAX_TEXT]
    if kind in _NEED_TEXT and not rest:
        raise NotUnderstoodError(f"{verb} needs a text: {verb} {incident_id} …")
    return Command(
        id=id,
        type=kind,
        incident_id=incident_id,
        actor=actor,
        issued_ms=issued_ms,
        text=rest,
        severity=severity,
        expected_ms=expected_ms,
        solution=solution,
    )


def _concluded(rest: str, begins: str) -> tuple[str, str]:
    """The reason and the solution."""
    reason, _, solution = (part.strip()[:MAX_TEXT] for part in rest.partition("|"))
    if not (reason and solution):
        raise NotUnderstoodError(f"conclude needs a reason and a solution: {begins} … | …")
    return reason, solution


def _severity(rest: str) -> tuple[Severity, str]:
    named, _, text = rest.strip().partition(" ")
    try:
        return msgspec.convert(named.upper(), Severity), text
    except msgspec.ValidationError as error:
        raise NotUnderstoodError("severity needs one of P1, P2, P3, P4") from error


def _expected(rest: str, now_ms: int) -> tuple[int, str]:
    named, _, text = rest.strip().partition(" ")
    try:
        return moment_of(named, now_ms), text
    except ValueError as error:
        raise NotUnderstoodError(str(error)) from error
