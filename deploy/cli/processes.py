"""The parts that keep running: `tocsin worker` and its fellows, and the demo."""

from pathlib import Path

from deploy.cli.shared import PROCESSES, Config, JsonFile, Positive, app


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
def broker(*, config: Config = None) -> int:
    """Keep an embedded Kafka with the configuration's topics in memory, to try it without one."""
    from deploy.commands.broker import run_broker

    return run_broker(config)


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
