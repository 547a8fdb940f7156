"""`tocsin`: every part of the pipeline, and every question to it, from one command line."""

import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Group, Parameter, validators

from deploy.configuration import ConfigurationError
from schemas.outlook import Category

PROCESSES = Group("Processes", sort_key=1)
QUESTIONS = Group("Questions", sort_key=2)
ANSWERS = Group("Commands to an incident", sort_key=3)
SETUP = Group("Setting up", sort_key=4)

app = App(
    name="tocsin",
    help="Sees an outage in the telemetry that is already on Kafka, and is the first to say so.",
    version=lambda: metadata.version("tocsin"),
    version_flags=["--version"],
)
bench = App(name="bench", help="Measure, beside a reference in the same run.", group=QUESTIONS)
app.command(bench)

Config = Annotated[
    Path | None,
    Parameter(name=["--config", "-c"], help="tocsin.yaml; without it, all defaults."),
]
Positive = Annotated[float, Parameter(validator=validators.Number(gt=0))]
Actor = Annotated[str | None, Parameter(help="Who says so; the logged-in user if not given.")]
Incident = Annotated[str, Parameter(help="Its id, INC-….")]
Text = Annotated[str, Parameter(help="What to say with it.")]
JsonFile = Annotated[Path | None, Parameter(name="--json", help="Also write it here, for scripts.")]


@app.command(group=PROCESSES)
def demo(
    *,
    speed: Positive = 60.0,
    once: bool = False,
    json: JsonFile = None,
    recording: Path | None = None,
) -> int:
    """Replay recorded incidents through the whole pipeline, with nothing else installed.

    Parameters
    ----------
    speed
        How many recorded seconds pass in one second.
    once
        End when the replay is over, instead of leaving the pages up.
    recording
        A folder with events, faults.csv and calls.csv; the one that ships with tocsin by default.
    """
    from deploy.demo.run import run_demo

    return run_demo(speed=speed, once=once, json=json, recording=recording)


@app.command(group=PROCESSES)
def worker(*, config: Config = None) -> int:
    """Read raw topics, detect, and write incidents."""
    from deploy.processes import worker as run

    return run(config)


@app.command(group=PROCESSES)
def notifier(*, config: Config = None) -> int:
    """Tell people about incidents."""
    from deploy.processes import notifier as run

    return run(config)


@app.command(group=PROCESSES)
def case_store(*, config: Config = None) -> int:
    """Keep a case, a timeline and an audit of every incident, with pages and an API."""
    from deploy.processes import case_store as run

    return run(config)


@app.command(group=PROCESSES)
def playbooks(*, config: Config = None) -> int:
    """Try the playbooks that the configuration has for an incident, before anybody is woken."""
    from deploy.processes import playbooks as run

    return run(config)


@app.command(group=PROCESSES)
def status_page(*, config: Config = None) -> int:
    """Serve the public status page."""
    from deploy.processes import status_page as run

    return run(config)


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
    """Tell customers what they can do meanwhile."""
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
    """
    from deploy.commands.silences import run_silence

    return run_silence(incident, match, until, comment, config=config, actor=actor)


@app.command(group=ANSWERS)
def unsilence(silence: str, *, config: Config = None, actor: Actor = None) -> int:
    """End a silence now, by its id."""
    from deploy.commands.silences import run_unsilence

    return run_unsilence(silence, config=config, actor=actor)


@app.command(group=QUESTIONS)
def silences(*, config: Config = None, json: JsonFile = None) -> int:
    """List what is silenced now and next, maintenance windows too, and what it holds back."""
    from deploy.commands.silences import run_silences

    return run_silences(config=config, json=json)


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


@app.command(group=SETUP)
def check(*, config: Config = None, offline: bool = False) -> int:
    """Say what is wrong with a configuration and whether what it names can be reached.

    Parameters
    ----------
    offline
        Check the file alone; look for no secret and reach for nothing.
    """
    from deploy.commands.check import run_check

    return run_check(config, offline=offline)


@app.command(group=SETUP)
def topics(*, config: Config = None, apply: bool = False) -> int:
    """List the topics that tocsin needs; create the missing ones with --apply."""
    from deploy.commands.topics import run_topics

    return run_topics(config, create=apply)


@bench.command
def ingest(
    *,
    events: Annotated[int, Parameter(validator=validators.Number(gt=0))] = 1_000_000,
    repeats: Annotated[int, Parameter(validator=validators.Number(gt=0))] = 3,
    rate: Annotated[int, Parameter(validator=validators.Number(gt=0))] = 2_000,
    partitions: Annotated[int, Parameter(validator=validators.Number(gt=0))] = 4,
    series: Annotated[int, Parameter(validator=validators.Number(gt=0))] = 420,
    broker: Literal["auto", "mock", "kafka"] = "auto",
    bootstrap: str | None = None,
    json: JsonFile = None,
) -> int:
    """Decode, windows and detection on one core, beside a bare aiokafka + orjson loop.

    Parameters
    ----------
    rate
        Events in one second of event time. The fewer, the more windows a million events fill.
    partitions
        Of the raw topic.
    series
        About how many series the events are of.
    broker
        Which broker to start: Apache Kafka where Java is, or the embedded one.
    bootstrap
        Measure on a running Kafka instead.
    """
    from deploy.bench.ingest import main as run

    return run(
        events=events,
        repeats=repeats,
        rate=rate,
        partitions=partitions,
        series=series,
        broker=broker,
        bootstrap=bootstrap,
        json=json,
    )


@bench.command
def scale(*, json: JsonFile = None) -> int:
    """What an event costs from 100 to 100,000 series and from 1 to 64 partitions, on one core."""
    from deploy.bench.scale import main as run

    return run(json=json)


@bench.command
def peers(
    *,
    events: Annotated[int, Parameter(validator=validators.Number(gt=0))] = 200_000,
    python: Path | None = None,
    bootstrap: str | None = None,
    json: JsonFile = None,
) -> int:
    """The same job in Faust, Quix Streams and Bytewax, in one sitting, with what each promises.

    Parameters
    ----------
    python
        The interpreter of an environment with the other engines: `.venv-peers/bin/python`, which
        `make peers` makes.
    bootstrap
        Measure on a running Kafka instead.
    """
    from deploy.bench.peer_table import main as run

    return run(events=events, python=python, bootstrap=bootstrap, json=json)


@bench.command
def faults(folder: Path, /, *, config: Config = None, json: JsonFile = None) -> int:
    """Replay a recorded system with known faults: what is found, how fast, beside plain rules.

    Parameters
    ----------
    folder
        Event files with faults.csv (and calls.csv, unlisted.csv) beside them; or normal.jsonl.gz
        with issues.csv and its issue files, or a folder of such folders.
    """
    from deploy.bench.faults import main as run

    return run(folder, config=config, json=json)


@bench.command
def outlook(
    logs: Annotated[list[Path], Parameter(help="Logs that `tocsin replay --events` wrote.")],
    /,
    *,
    least: Annotated[int, Parameter(validator=validators.Number(gte=2))] = 20,
    json: JsonFile = None,
) -> int:
    """Judge the guesses about new incidents (category, recovery, duration) on closed ones.

    Parameters
    ----------
    least
        Closed incidents from which on something is guessed.
    """
    from deploy.bench.outlook import run_outlook

    return run_outlook(logs, least=least, json=json)


@bench.command
def storm(
    *,
    alerts: Annotated[int, Parameter(validator=validators.Number(gt=0))] = 10_000,
    limit: Annotated[int, Parameter(validator=validators.Number(gt=0))] = 20,
    per_seconds: Positive = 300.0,
    json: JsonFile = None,
) -> int:
    """Let everything break within a minute: what each contact gets, and whether all is told.

    Parameters
    ----------
    alerts
        Incidents that are opened within the minute.
    limit
        Messages that a contact may get in any span of --per-seconds.
    """
    from deploy.bench.storm import run_storm

    return run_storm(alerts=alerts, limit=limit, per_seconds=per_seconds, json=json)


@bench.command(name="feedback")
def bench_feedback(
    folders: Annotated[list[Path] | None, Parameter(help="Recordings or corpora.")] = None,
    /,
    *,
    config: Config = None,
    json: JsonFile = None,
) -> int:
    """Say of half a recording what was false and what was missed; measure it on the other half."""
    from deploy.bench.feedback import main as run

    return run(folders or [], config=config, json=json)


@bench.command
def nab(
    *,
    data: Path | None = None,
    results: Path | None = None,
    prefix: str = "",
    json: JsonFile = None,
) -> int:
    """Score the default detector of gauges by the Numenta Anomaly Benchmark's own rules.

    Parameters
    ----------
    data
        The benchmark's corpus, or another of the same layout: folders of timestamp,value files
        and labels/combined_windows.json. By default nab or data/nab, here or in a folder beside.
    results
        Also write every score here in the benchmark's layout; its own program can score them.
    prefix
        A detector's name to put before the results' file names, as the benchmark's program wants.
    """
    from deploy.bench.nab import main as run

    return run(data, results=results, prefix=prefix, json=json)


@bench.command(name="bank")
def bench_bank(
    *,
    series: Annotated[int, Parameter(validator=validators.Number(gt=0))] = 100_000,
    ticks: Annotated[int, Parameter(validator=validators.Number(gt=0))] = 512,
    json: JsonFile = None,
) -> int:
    """Score and learn many gauges at once on one core, beside a detector a series and River's own.

    Parameters
    ----------
    series
        Gauges; their state is held in memory, about 2.3 KB each.
    ticks
        Samples of each that are measured, after 96 that are not.
    """
    from deploy.bench.bank import main as run

    return run(series, ticks=ticks, json=json)


def main() -> None:
    """The console script."""
    try:
        code = app(result_action="return_value")
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        code = 130
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
