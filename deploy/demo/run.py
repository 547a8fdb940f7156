"""`tocsin demo`: starts everything, replays the recording, tells what happens, and sums it up."""

import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import orjson
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from deploy.console import new_console
from deploy.demo import CONFIG, RECORDING
from deploy.demo.children import Children, PartFailed
from deploy.demo.feed import Feeder
from deploy.demo.stage import Stage, Stopped, feed_of, prepare, wait_until_ready
from deploy.demo.summary import Summary, summarise
from deploy.demo.tell import Teller
from deploy.demo.watch import Watcher
from schemas.configuration import Configuration
from schemas.incidents import Delivery
from schemas.times import clock

END_SECONDS = 300
SETTLE_SECONDS = 1.5


def run_demo(*, speed: float, once: bool, json: Path | None, recording: Path | None) -> int:
    """Runs the demo; see `tocsin demo --help`. Returns the exit code."""
    console = new_console()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    folder = Path(tempfile.mkdtemp(prefix="tocsin-demo-"))
    failed = True
    try:
        with prepare(folder) as stage:
            summary = _replay(stage, recording or RECORDING, speed, once, stop, console, json)
        failed = False
        return 0 if summary is not None or stop.is_set() else 1
    except Stopped:
        failed = False
        console.print("stopped")
        return 130 if once else 0
    except (PartFailed, TimeoutError, RuntimeError) as error:
        print(f"tocsin demo: {error}\nthe logs are in {folder}", file=sys.stderr)
        return 1
    finally:
        if not failed:
            shutil.rmtree(folder, ignore_errors=True)


def _replay(  # noqa: PLR0917 - one call, from `run_demo`
    stage: Stage,
    recording: Path,
    speed: float,
    once: bool,
    stop: threading.Event,
    console: Console,
    json: Path | None,
) -> Summary | None:
    configuration = stage.configuration
    children = Children(CONFIG, stage.environment, stage.folder)
    servers = configuration.kafka.bootstrap_servers
    watcher = Watcher(servers, configuration.topics)
    feeder = Feeder(feed_of(configuration, recording, speed), servers, stop)
    try:
        console.print("starting worker, notifier, case store and status page …")
        children.start()
        wait_until_ready(configuration, children, stop)
        console.print(f"status page  {configuration.status_page.public_url}")
        console.print(f"cases        {configuration.case_store.public_url}")
        feeder.start()
        _watch(feeder, watcher, children, configuration, console, stop)
        summary = summarise(recording, feeder, watcher.seen)
        summary.print(console)
        if json is not None:
            json.write_bytes(orjson.dumps(summary.as_json(), option=orjson.OPT_INDENT_2) + b"\n")
        if once:
            console.print("\nThe pages are closed; `tocsin demo` without --once leaves them up.")
        else:
            _invite(stage, list(watcher.seen.incidents), console)
            while not stop.wait(0.5):
                children.check()
        return summary
    finally:
        stop.set()
        children.stop()
        if feeder.is_alive():
            feeder.join(2)
        watcher.close()


def _invite(stage: Stage, incidents: list[str], console: Console) -> None:
    """What can be tried while everything is up."""
    configuration = stage.configuration
    pages = f"{configuration.status_page.public_url} and {configuration.case_store.public_url}"
    console.print(
        f"\nThe pages stay up until Ctrl-C: {pages}\n"
        f"sign in to the cases with {stage.environment['TOCSIN_DEMO_SECRET']}",
        soft_wrap=True,
    )
    if incidents:
        environment = stage.write_environment()
        console.print(
            "from another terminal:\n"
            f"  set -a; . {environment}; set +a\n"
            f"  tocsin explain {incidents[-1]}\n"
            f"  tocsin ack {incidents[-1]} 'looking into it'\n"
            f"  tocsin why {incidents[-1]} --who 'support desk' -c {CONFIG}\n"
            f"  tocsin report 'the shopping cart stays empty' -c {CONFIG}\n"
            "  and so on, always with this -c where names, routes or messages matter",
            soft_wrap=True,
            highlight=False,
        )


def _watch(  # noqa: PLR0917 - one call, from `_replay`
    feeder: Feeder,
    watcher: Watcher,
    children: Children,
    configuration: Configuration,
    console: Console,
    stop: threading.Event,
) -> None:
    """Prints what happens until the replay is over and everything asked for has been done."""
    teller = Teller(console)
    lateness_ms = int(configuration.windows.allowed_lateness_seconds * 1000)
    window_ms = int(configuration.windows.window_seconds * 1000)
    shards = configuration.topics.observation_shards
    with _progress(console) as progress:
        task = progress.add_task("replaying", total=None, at="")
        ended: float | None = None
        while True:
            for item in watcher.poll(0.2):
                if isinstance(item, Delivery):
                    teller.delivery(item)
                else:
                    case = _case_number(configuration, item.incident_id)
                    teller.event(item, case)
            progress.update(task, at=clock(feeder.clock_ms) if feeder.clock_ms else "")
            children.check()
            if stop.is_set():
                raise Stopped
            if feeder.failure is not None:
                raise RuntimeError(f"feeding the recording failed: {feeder.failure}")
            if not feeder.finished:
                continue
            ended = ended or time.monotonic()
            behind = feeder.clock_ms - lateness_ms - window_ms - watcher.seen.reached(shards)
            quiet = time.monotonic() - watcher.seen.last_news > SETTLE_SECONDS
            if behind <= 0 and quiet and not watcher.seen.unfinished():
                return
            if time.monotonic() - ended > END_SECONDS:
                raise TimeoutError(
                    f"the pipeline did not finish within {END_SECONDS} s of the replay's end: "
                    f"{max(0, behind) / 1000:.0f} s of event time not looked at, "
                    f"{watcher.seen.unfinished()} messages not delivered"
                )


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("event time {task.fields[at]}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _case_number(configuration: Configuration, incident_id: str) -> str | None:
    """The case's number, or None where the case store has not come so far yet."""
    url = f"{configuration.case_store.public_url}/api/v1/cases/{incident_id}"
    for _ in range(10):
        try:
            with urlopen(url, timeout=2) as answer:  # noqa: S310 - our own address
                return f"case {orjson.loads(answer.read())['number']}"
        except (URLError, OSError, KeyError, ValueError):
            time.sleep(0.1)
    return None
