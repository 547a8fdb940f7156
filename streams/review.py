"""The review of what is about to be public: proposed by one, approved by another, taken back with
a trace. Pure.
"""

from collections.abc import Callable

from schemas.incidents import Command, EventType, Proposal, ProposalKind
from streams.dossier import Dossier
from streams.lifecycle import Rules

_KINDS: dict[str, ProposalKind] = {
    "public_message": "public_message",
    "workaround": "workaround",
    "conclude": "follow_up",
}


def show(dossier: Dossier, rules: Rules) -> None:
    """Lets the incident be public by its severity, unless it is silenced or waits for approval.

    What rests on people's reports alone waits too: one of them may be wrong.
    """
    severity = dossier.override or dossier.severity
    if severity not in rules.public or dossier.visibility == "public" or dossier.silence:
        return
    reported = all(signal.kind == "report" for signal in dossier.trusted_signals())
    if (severity in rules.review or reported) and dossier.approved_by is None:
        dossier.awaits_review = True
    else:
        dossier.visibility, dossier.awaits_review = "public", False


def must_be_reviewed(command: Command, dossier: Dossier, rules: Rules) -> bool:
    """Whether what the command says for customers waits for another's approval."""
    return command.type in _KINDS and (dossier.override or dossier.severity) in rules.review


def propose(command: Command, dossier: Dossier) -> tuple[EventType, str]:
    """Keeps words for customers until somebody else approves them; newer ones replace older."""
    dossier.proposal = Proposal(
        kind=_KINDS[command.type],
        text=command.text,
        solution=command.solution,
        by=command.actor,
    )
    dossier.awaits_review = True
    return "proposed", command.text


def why_not_approved(command: Command, dossier: Dossier) -> str | None:
    """Why an approval or a retraction has no effect; None if it has."""
    if command.type == "retract":
        return None if dossier.public_message else "nothing has been said in public"
    if not dossier.awaits_review:
        return "nothing waits for an approval"
    if dossier.proposal is not None and dossier.proposal.by == command.actor:
        return f"{command.actor} wrote it; somebody else has to approve it"
    return None


def approve(
    command: Command, dossier: Dossier, tell: Callable[[Command, Dossier], tuple[EventType, str]]
) -> tuple[EventType, str]:
    """Lets what waits go out: the words that were proposed, or the incident itself."""
    proposal = dossier.proposal
    dossier.awaits_review, dossier.proposal = False, None
    dossier.approved_by, dossier.visibility = command.actor, "public"
    if proposal is None:
        return "approved", command.text or f"{command.actor} approved that it is told in public."
    said = Command(
        id=command.id,
        type="conclude" if proposal.kind == "follow_up" else proposal.kind,
        incident_id=command.incident_id,
        actor=command.actor,
        issued_ms=command.issued_ms,
        text=proposal.text,
        solution=proposal.solution,
    )
    return tell(said, dossier)


def retract(command: Command, dossier: Dossier) -> tuple[EventType, str]:
    """Takes the public message back; the log keeps both it and that it was taken back."""
    dossier.public_message = None
    return "retracted", command.text or f"{command.actor} took the last public message back."
