"""`tocsin bench …`: measure, beside a reference in the same run."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter, validators

from deploy.cli.shared import Config, JsonFile, Positive, bench


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
def recovery(
    *,
    series: Annotated[int, Parameter(validator=validators.Number(gt=0))] = 100_000,
    kills: Annotated[int, Parameter(validator=validators.Number(gt=0))] = 3,
    bootstrap: str | None = None,
    json: JsonFile = None,
) -> int:
    """Kill a worker while events go on coming: how long until it is at full speed again.

    Warm, with the copies of its checkpoints on its disk, and cold, from Kafka alone.

    Parameters
    ----------
    series
        About how many series the worker holds.
    kills
        How many of each kind.
    bootstrap
        Measure on a running Kafka instead.
    """
    from deploy.bench.recovery import main as run

    return run(series=series, kills=kills, bootstrap=bootstrap, json=json)


@bench.command
def peers(
    *,
    events: Annotated[int, Parameter(validator=validators.Number(gt=0))] = 200_000,
    python: Path | None = None,
    bootstrap: str | None = None,
    json: JsonFile = None,
) -> int:
    """The same job in Faust, Quix Streams, Bytewax and Pathway, in one sitting, with what each
    promises.

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
def faults(
    folder: Path,
    /,
    *,
    config: Config = None,
    vary: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 0,
    json: JsonFile = None,
) -> int:
    """Replay a recorded system with known faults: what is found, how fast, beside plain rules.

    Parameters
    ----------
    folder
        Event files with faults.csv (and calls.csv, unlisted.csv) beside them; or normal.jsonl.gz
        with issues.csv and its issue files, or a folder of such folders.
    vary
        Replay them also as they might have been, so many times of each kind: begun later, in
        another order, thinned, noisy, renamed.
    """
    from deploy.bench.faults import main as run

    return run(folder, config=config, vary=vary, json=json)


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


@bench.command
def latency(
    *,
    faults: Annotated[int, Parameter(validator=validators.Number(gt=0))] = 60,
    rate: Annotated[int | None, Parameter(validator=validators.Number(gt=0))] = None,
    broker: Literal["kafka"] = "kafka",
    bootstrap: str | None = None,
    json: JsonFile = None,
) -> int:
    """From a fault's first record to the incident on its topic, a message and a page, under load.

    Parameters
    ----------
    faults
        Services that fail, one after the other.
    rate
        Events a second to write; by default half of the maximum, which is measured first.
    broker
        Which broker to start: only Apache Kafka can hold as much.
    bootstrap
        Measure on a running Kafka instead.
    """
    from deploy.bench.latency import main as run

    return run(faults=faults, rate=rate, bootstrap=bootstrap, json=json)
