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
            dossier.silence = hold(dossier, end_ms, rules)
            return


def hold(dossier: Dossier, end_ms: int, rules: Rules) -> Silence | None:
    """The silence in which a playbook works; None once it has failed or its time is over."""
    until_ms = dossier.held_until_ms
    if dossier.playbook is None or until_ms is None or end_ms >= until_ms:
        return None
    return Silence(
        id=f"playbook {dossier.playbook}",
        matchers=(),
        starts_ms=dossier.opened_ms,
        ends_ms=until_ms + rules.lateness_ms,
        author="tocsin",
    )


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


def _windows(span_ms: float, rules: Rules) -> int:
    """The span in whole windows, since time goes by those."""
    return max(-(-round(span_ms) // rules.window_ms), 1) * rules.window_ms
