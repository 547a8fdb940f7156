"""Which playbook tries to cure an incident before anybody is woken. Pure; it is run elsewhere."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from schemas.configuration import Playbook
from schemas.incidents import Command, EventType
from schemas.silences import Silence
from streams.dossier import Dossier
from streams.lifecycle import Rules


def begin(dossier: Dossier, playbooks: Sequence[Playbook], end_ms: int, rules: Rules) -> None:
    """Chooses the first playbook that fits a new incident, and holds the alerting back for it.

    An incident has one playbook in its life. What is silenced anyway has none: people are at work.
    """
    if dossier.silence is not None:
        return
    for playbook in playbooks:
        if _fits(playbook, dossier):
            dossier.playbook, dossier.playbook_result = playbook.name, "running"
            dossier.held_until_ms = end_ms + _windows(playbook.hold_seconds * 1000, rules)
            dossier.silence = hold(dossier, playbooks, end_ms, rules)
            return


def hold(
    dossier: Dossier, playbooks: Sequence[Playbook], end_ms: int, rules: Rules
) -> Silence | None:
    """The silence in which a playbook works; None once it has failed or its time is over.

    Its time is over for good as soon as the incident is graver than the playbook is for.
    """
    until_ms = dossier.held_until_ms
    if dossier.playbook is None or until_ms is None or end_ms >= until_ms:
        return None
    if _is_too_grave(dossier, playbooks):
        dossier.held_until_ms = end_ms
        return None
    return Silence(
        id=_name(dossier),
        matchers=(),
        starts_ms=dossier.opened_ms,
        ends_ms=until_ms + rules.lateness_ms,
        author="tocsin",
    )


def has_given_up(dossier: Dossier, playbooks: Sequence[Playbook]) -> bool:
    """Whether its playbook held it back, and may not any more, since it failed or it is too grave:
    that is told even of what has gone quiet."""
    by_playbook = dossier.silence is not None and dossier.silence.id == _name(dossier)
    failed = dossier.playbook_result == "failed"
    return by_playbook and (failed or _is_too_grave(dossier, playbooks))


def why_no_result(command: Command, dossier: Dossier) -> str | None:
    """Why a result cannot be taken; None if it can."""
    if dossier.playbook is None:
        return f"{dossier.id} has no playbook"
    if command.solution not in ("worked", "failed"):
        return "`solution` must be worked or failed"
    return None


def conclude(command: Command, dossier: Dossier, end_ms: int) -> tuple[EventType, str]:
    """Takes the result in: one that failed holds nobody back any more."""
    if command.solution == "worked":
        dossier.playbook_result = "worked"
    else:
        dossier.playbook_result = "failed"
        dossier.held_until_ms = min(dossier.held_until_ms or end_ms, end_ms)
        dossier.touched = True
    return "noted", command.text or f"The playbook {dossier.playbook} {command.solution}."


def _fits(playbook: Playbook, dossier: Dossier) -> bool:
    kinds = {signal.kind for signal in dossier.trusted_signals()}
    return (
        dossier.severity in playbook.severities
        and any(fnmatchcase(s, p) for s in dossier.affected() for p in playbook.services)
        and (not playbook.kinds or not kinds.isdisjoint(playbook.kinds))
    )


def _name(dossier: Dossier) -> str:
    """The id of the silence in which its playbook works."""
    return f"playbook {dossier.playbook}"


def _is_too_grave(dossier: Dossier, playbooks: Sequence[Playbook]) -> bool:
    """Whether it is graver, after people or the matrix, than its playbook may hold back. One that
    the configuration has no more may hold back what it was begun for."""
    meant = [s for p in playbooks if p.name == dossier.playbook for s in p.severities]
    return bool(meant) and (dossier.override or dossier.severity) < min(meant)


def _windows(span_ms: float, rules: Rules) -> int:
    """The span in whole windows, since time goes by those."""
    return max(-(-round(span_ms) // rules.window_ms), 1) * rules.window_ms
