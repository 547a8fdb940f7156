"""What people say to an incident, and about silences, reports and changes."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from deploy.cli.shared import ANSWERS, Actor, Config, Incident, Text, app
from schemas.outlook import Category


@app.command(group=ANSWERS)
def ack(incident: Incident, text: Text = "", *, config: Config = None, actor: Actor = None) -> int:
    """Acknowledge an incident: somebody is on it."""
    return _command("acknowledge", incident, config, actor, text=text)


@app.command(group=ANSWERS)
def note(incident: Incident, text: Text, *, config: Config = None, actor: Actor = None) -> int:
    """Put a note on an incident's timeline."""
    return _command("note", incident, config, actor, text=text)


@app.command(group=ANSWERS)
def resolve(
    incident: Incident, text: Text = "", *, config: Config = None, actor: Actor = None
) -> int:
    """Resolve an incident by hand."""
    return _command("resolve", incident, config, actor, text=text)


@app.command(group=ANSWERS)
def severity(
    incident: Incident,
    severity: Literal["P1", "P2", "P3", "P4"],
    text: Text = "",
    *,
    config: Config = None,
    actor: Actor = None,
) -> int:
    """Set an incident's severity; it stays until somebody changes it."""
    return _command("set_severity", incident, config, actor, text=text, severity=severity)


@app.command(group=ANSWERS)
def say(incident: Incident, text: Text, *, config: Config = None, actor: Actor = None) -> int:
    """Post a public message about an incident on the status page and to customers."""
    return _command("public_message", incident, config, actor, text=text)


@app.command(group=ANSWERS)
def workaround(
    incident: Incident, text: Text, *, config: Config = None, actor: Actor = None
) -> int:
    """Tell customers what they can do in the meantime."""
    return _command("workaround", incident, config, actor, text=text)


@app.command(group=ANSWERS)
def expect(
    incident: Incident, when: str, text: Text = "", *, config: Config = None, actor: Actor = None
) -> int:
    """Say when an incident is expected to be over; everybody is told.

    Parameters
    ----------
    when
        So long from now (45m, 2h, 1h30m), or a time with its zone: 2026-11-24T18:00+01:00.
    """
    from deploy.commands.say import give_expectation

    return give_expectation(incident, when, config=config, actor=actor, text=text)


@app.command(group=ANSWERS)
def conclude(
    incident: Incident, reason: str, solution: str, *, config: Config = None, actor: Actor = None
) -> int:
    """Say afterwards, in customers' words, what the reason was and what was done about it."""
    return _command("conclude", incident, config, actor, text=reason, solution=solution)


@app.command(group=ANSWERS)
def unack(
    incident: Incident, text: Text = "", *, config: Config = None, actor: Actor = None
) -> int:
    """Give an acknowledgement back: nobody has the incident, and people are paged again."""
    return _command("unacknowledge", incident, config, actor, text=text)


@app.command(group=ANSWERS)
def approve(
    incident: Incident, text: Text = "", *, config: Config = None, actor: Actor = None
) -> int:
    """Let the public have what waits for review: somebody else's words, or the incident itself."""
    return _command("approve", incident, config, actor, text=text)


@app.command(group=ANSWERS)
def no_change(
    incident: Incident, text: Text = "", *, config: Config = None, actor: Actor = None
) -> int:
    """Tell those outside that nothing has changed, which keeps the promise of an update."""
    return _command("no_change", incident, config, actor, text=text)


@app.command(group=ANSWERS)
def retract(
    incident: Incident, text: Text = "", *, config: Config = None, actor: Actor = None
) -> int:
    """Take the last public message back; the log, and whoever read it, are told so."""
    return _command("retract", incident, config, actor, text=text)


@app.command(group=ANSWERS)
def silence(
    incident: str = "",
    *,
    match: tuple[str, ...] = (),
    until: Annotated[str, Parameter(name=("--until", "--for"))],
    comment: str = "",
    extend: str = "",
    config: Config = None,
    actor: Actor = None,
) -> int:
    """Let nobody be woken by what matches, or by an incident; it is measured and logged as ever.

    Parameters
    ----------
    match
        Like Alertmanager's matchers: service=cart, kind!=latency, series=~"cpu.*". Repeat it for
        several that must all hold. Without one, what the incident's services show.
    until
        So long from now (45m, 2h, 1h30m), or a time with its zone: 2026-11-24T18:00+01:00.
    extend
        The id of a silence that is to end then instead; nothing else of it changes.
    """
    from deploy.commands.silences import run_extend, run_silence

    if extend:
        return run_extend(extend, incident, match, until, config=config, actor=actor)
    return run_silence(incident, match, until, comment, config=config, actor=actor)


@app.command(group=ANSWERS)
def unsilence(silence: str, *, config: Config = None, actor: Actor = None) -> int:
    """End a silence now, by its id."""
    from deploy.commands.silences import run_unsilence

    return run_unsilence(silence, config=config, actor=actor)


@app.command(group=ANSWERS)
def feedback(
    incident: str | None = None,
    text: Text = "",
    *,
    not_an_incident: bool = False,
    missed: Annotated[str | None, Parameter(help="The service that was in trouble.")] = None,
    since: Annotated[str | None, Parameter(name="--from", help="When that began.")] = None,
    until: Annotated[str | None, Parameter(name="--to", help="When it ended; else now.")] = None,
    config: Config = None,
    actor: Actor = None,
) -> int:
    """Say that an incident was none, or that trouble was missed: thresholds follow, and fade again.

    Times are a span ago (2h, 1h30m), or with their zone: 2026-11-24T18:00+01:00.
    """
    from deploy.commands.feedback import run_feedback

    return run_feedback(
        incident,
        not_an_incident=not_an_incident,
        missed=missed,
        since=since,
        until=until,
        text=text,
        config=config,
        actor=actor,
    )


@app.command(group=ANSWERS)
def report(
    text: str, *, service: str | None = None, config: Config = None, actor: Actor = None
) -> int:
    """Report trouble that you see: it joins the incident of its service, or opens one.

    Parameters
    ----------
    service
        Which service; without it, the one whose name stands in the text.
    """
    from deploy.commands.say import tell

    return tell("report", text, config=config, actor=actor, service=service)


@app.command(group=ANSWERS)
def change(text: str, *services: str, config: Config = None, actor: Actor = None) -> int:
    """Say that services were changed, say by a deploy: trouble right after points at them."""
    from deploy.commands.say import tell

    return tell("change", text, config=config, actor=actor, services=services)


@app.command(group=ANSWERS)
def category(
    incident: Incident,
    category: Category,
    text: Text = "",
    *,
    config: Config = None,
    actor: Actor = None,
) -> int:
    """Say what kind of trouble an incident is; later guesses learn from it."""
    from deploy.commands.say import give

    return give("set_category", incident, config=config, actor=actor, text=text, category=category)


@app.command(group=ANSWERS)
def merge(incident: Incident, into: str, *, config: Config = None, actor: Actor = None) -> int:
    """Say that an incident is the same as another, in which it goes on from now on."""
    from deploy.commands.say import give

    return give("merge", incident, config=config, actor=actor, into=into)


@app.command(group=ANSWERS)
def split(incident: Incident, *services: str, config: Config = None, actor: Actor = None) -> int:
    """Say that services of an incident are another incident, which is opened for them."""
    from deploy.commands.say import give

    return give("split", incident, config=config, actor=actor, services=services)


def _command(
    kind: Literal[
        "acknowledge",
        "note",
        "resolve",
        "set_severity",
        "public_message",
        "workaround",
        "conclude",
        "unacknowledge",
        "approve",
        "retract",
        "no_change",
    ],
    incident: str,
    config: Path | None,
    actor: str | None,
    *,
    text: str,
    severity: Literal["P1", "P2", "P3", "P4"] | None = None,
    solution: str = "",
) -> int:
    from deploy.commands.say import give

    return give(
        kind,
        incident,
        config=config,
        actor=actor,
        text=text,
        severity=severity,
        solution=solution,
    )
