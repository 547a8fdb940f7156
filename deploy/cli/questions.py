"""Questions to incidents, people and recorded events."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter, validators

from deploy.cli.shared import QUESTIONS, Config, Incident, JsonFile, Positive, app


@app.command(group=QUESTIONS)
def replay(
    files: Annotated[list[Path], Parameter(help="Event files, .jsonl or .jsonl.gz.")],
    /,
    *,
    config: Config = None,
    calls: Path | None = None,
    json: JsonFile = None,
    events: Path | None = None,
    faults: Path | None = None,
    diff: Path | None = None,
) -> int:
    """Run the same pipeline over event files, without a broker, as fast as the machine can.

    Parameters
    ----------
    calls
        The service graph as CSV: caller,callee.
    events
        Also write the incidents' log here, one JSON line an event; `tocsin explain --log` reads it.
    faults
        A faults.csv with the known truth: says what was detected and what was not. An unlisted.csv
        beside it, with faults that the list lacks, keeps their incidents from counting as false.
    diff
        Another configuration file, the old one: says what --config would have opened, graded and
        told otherwise. With --json, the differences.
    """
    if diff is not None:
        from deploy.commands.difference import run_difference

        return run_difference(files, new=config, old=diff, calls=calls, json=json)

    from deploy.commands.replay import run_replay

    return run_replay(files, config=config, calls=calls, json=json, events=events, faults=faults)


@app.command(group=QUESTIONS)
def explain(incident: str, *, config: Config = None, log: Path | None = None) -> int:
    """Say why an incident was opened, how its severity came about, and who was told.

    Parameters
    ----------
    incident
        Its id, INC-….
    log
        Read a replay's log (`tocsin replay --events`) instead of the case store.
    """
    from deploy.commands.explain import run_explain

    return run_explain(incident, config=config, log=log)


@app.command(group=QUESTIONS)
def preview(
    incident: str | None = None,
    /,
    *,
    source: Annotated[Path | None, Parameter(name="--from")] = None,
    config: Config = None,
    json: JsonFile = None,
    language: str | None = None,
    audience: str | None = None,
    time_zone: str = "UTC",
) -> int:
    """Show every message about an incident, for every stage, audience, segment and language.

    Parameters
    ----------
    incident
        Its id, INC-…; with --from, all of the file if it is not given.
    source
        Incidents that `tocsin replay --json` wrote, instead of the case store.
    language
        This language alone, such as de.
    audience
        This audience alone: engineer, manager, support, customer or customer:SEGMENT.
    time_zone
        Of whom the messages are for, such as Europe/Berlin.
    """
    from deploy.commands.preview import run_preview

    return run_preview(
        incident,
        config=config,
        source=source,
        json=json,
        language=language,
        audience=audience,
        time_zone=time_zone,
    )


@app.command(group=QUESTIONS)
def why(
    incident: Incident,
    *,
    who: Annotated[str, Parameter(help="A recipient's name or address.")],
    config: Config = None,
    json: JsonFile = None,
) -> int:
    """Say why somebody was told of an incident, or was not, step by step."""
    from deploy.commands.why import run_why

    return run_why(incident, who=who, config=config, json=json)


@app.command(group=QUESTIONS)
def route(
    test: Annotated[
        list[str] | None, Parameter(help="The made-up incident: services=cart severity=P1 ….")
    ] = None,
    /,
    *,
    config: Config = None,
    at: str | None = None,
    recorded: Annotated[Path | None, Parameter(name="--from")] = None,
    incident: str | None = None,
    json: JsonFile = None,
) -> int:
    """Say who would be told of an incident, made up or recorded, without anything running.

    Parameters
    ----------
    at
        When: 2026-11-24T18:00 (UTC) or 2026-11-24T18:00+01:00; now if not given.
    recorded
        Take an incident of a file that `tocsin replay` has written instead.
    incident
        Which of them, INC-…; the first if not given.
    """
    from deploy.commands.route import run_route

    return run_route(
        test or [], config=config, at=at, recorded=recorded, incident=incident, json=json
    )


@app.command(group=QUESTIONS)
def oncall(
    schedules: Annotated[list[str] | None, Parameter(help="Their names; all if none.")] = None,
    /,
    *,
    config: Config = None,
    at: str | None = None,
    days: Annotated[int, Parameter(validator=validators.Number(gt=0, lte=366))] = 28,
    json: JsonFile = None,
) -> int:
    """Say who is on call now and next, and when nobody is.

    Parameters
    ----------
    at
        When: 2026-11-24T18:00 (UTC) or 2026-11-24T18:00+01:00; now if not given.
    days
        How far ahead gaps are looked for.
    """
    from deploy.commands.oncall import run_oncall

    return run_oncall(schedules or [], config=config, at=at, days=days, json=json)


@app.command(group=QUESTIONS)
def drill(
    *,
    service: str,
    severity: Literal["P1", "P2", "P3", "P4"] = "P2",
    customers: bool = False,
    timeout: Positive = 120.0,
    config: Config = None,
    json: JsonFile = None,
) -> int:
    """Tell and page everybody of an incident that is none, and say whom that did not reach.

    Parameters
    ----------
    service
        Whose incident it is said to be.
    customers
        Tell customers, too; the messages say that it is a drill.
    timeout
        Seconds after which what has not come counts as failed.
    """
    from deploy.commands.drill import run_drill

    return run_drill(
        service,
        config=config,
        severity=severity,
        customers=customers,
        timeout=timeout,
        json=json,
    )


@app.command(group=QUESTIONS)
def silences(*, config: Config = None, json: JsonFile = None) -> int:
    """List what is silenced now and next, maintenance windows too, and what it holds back."""
    from deploy.commands.silences import run_silences

    return run_silences(config=config, json=json)


@app.command(group=QUESTIONS)
def simulate(
    *,
    seed: int | None = None,
    seeds: str | None = None,
    without: Annotated[str, Parameter(help="Numbers of disturbances to leave out: 0,2.")] = "",
    json: JsonFile = None,
) -> int:
    """Run everything in one process on a simulated clock, with crashes, and compare: by seed.

    Broker, receivers and time are models; stages, checkpoints, sinks and their SQL are the real
    ones. A seed decides everything, so one that fails does so again.

    Parameters
    ----------
    seed
        Run this one and say what was in its way.
    seeds
        Run many, 0..999, and name those that fail.
    """
    from deploy.commands.simulate import run_simulate

    numbers = [int(part) for part in without.split(",") if part.strip().isdecimal()]
    return run_simulate(seed=seed, seeds=seeds, without=numbers, json=json)
