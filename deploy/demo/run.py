"""`tocsin demo`: starts everything, replays the recording, tells what happens, and sums it up."""

import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import orjson
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from deploy.brokers.mock import MockBroker
from deploy.configuration import load
from deploy.demo import CONFIG, RECORDING
from deploy.demo.children import Children, PartFailed, free_ports
from deploy.demo.feed import HEARTBEAT_MS, Feed, Feeder
from deploy.demo.summary import Summary, summarise
from deploy.demo.tell import Teller
from deploy.demo.watch import Watcher
from deploy.topics import partitions_of
from deploy.words import clock
from schemas.configuration import Configuration
from schemas.incidents import Delivery
from streams.files import read_events

RAW_PARTITIONS = 4
TAIL_SECONDS = 60
"""How long heartbeats go on after the recording's end, in event time: the last windows close."""
START_SECONDS = 60
END_SECONDS = 60
SETTLE_SECONDS = 1.5


@dataclass(frozen=True)
class Stage:
    """Where this run of the demo takes place."""

    configuration: Configuration
    environment: dict[str, str]
    folder: Path


class _Stopped(Exception):  # noqa: N818 - not an error: somebody pressed Ctrl-C
    """The demo was asked to end."""


def run_demo(*, speed: float, once: bool, json: Path | None, recording: Path | None) -> int:
    """Runs the demo; see `tocsin demo --help`. Returns the exit code."""
    console = Console(soft_wrap=True)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    folder = Path(tempfile.mkdtemp(prefix="tocsin-demo-"))
    failed = True
    try:
        with _broker(folder) as stage:
            summary = _replay(stage, recording or RECORDING, speed, once, stop, console, json)
        failed = False
        return 0 if summary is not None or stop.is_set() else 1
    except _Stopped:
        failed = False
        console.print("stopped")
        return 130 if once else 0
    except (PartFailed, TimeoutError, RuntimeError) as error:
        print(f"tocsin demo: {error}\nthe logs are in {folder}", file=sys.stderr)
        return 1
    finally:
        if not failed:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _broker(folder: Path) -> Iterator[Stage]:
    """The embedded broker with all topics, and the configuration that fits it."""
    notifier, case_store, status_page, worker = free_ports(4)
    environment = {
        "TOCSIN_DEMO_SECRET": secrets.token_urlsafe(32),
        "TOCSIN_WORKER_DATA_DIR": str(folder / "worker"),
        "TOCSIN_WORKER_ADMIN": _listen(worker),
        **_sink("NOTIFIER", notifier, folder / "notifier.sqlite3"),
        **_sink("CASE_STORE", case_store, folder / "cases.sqlite3"),
        **_sink("STATUS_PAGE", status_page, folder / "status-page.sqlite3"),
    }
    configuration = load(CONFIG, environment)
    raw = {source.topic: RAW_PARTITIONS for source in configuration.sources}
    with MockBroker(raw | partitions_of(configuration, raw)) as broker:
        environment["TOCSIN_KAFKA_BOOTSTRAP_SERVERS"] = broker.bootstrap_servers
        yield Stage(load(CONFIG, environment), environment, folder)


def _sink(name: str, port: int, store: Path) -> dict[str, str]:
    return {
        f"TOCSIN_{name}_LISTEN": _listen(port),
        f"TOCSIN_{name}_PUBLIC_URL": f"http://127.0.0.1:{port}",
        f"TOCSIN_{name}_STORE": f"sqlite:///{store}",
    }


def _listen(port: int) -> str:
    return f"{{host: 127.0.0.1, port: {port}}}"


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
    watcher = Watcher(configuration.kafka.bootstrap_servers, configuration.topics)
    feeder = Feeder(_feed(configuration, recording, speed), _bootstrap(stage), stop)
    try:
        console.print("starting worker, notifier, case store and status page …")
        children.start()
        _wait_until_ready(configuration, children, stop)
        console.print(f"status page  {configuration.status_page.public_url}")
        console.print(f"cases        {configuration.case_store.public_url}\n")
        feeder.start()
        _watch(feeder, watcher, children, configuration, console, stop)
        summary = summarise(recording, feeder, watcher.seen)
        summary.print(console)
        if json is not None:
            json.write_bytes(orjson.dumps(summary.as_json(), option=orjson.OPT_INDENT_2) + b"\n")
        if not once:
            console.print(
                f"\nThe pages stay up until Ctrl-C: {configuration.status_page.public_url} and "
                f"{configuration.case_store.public_url}; sign in there with "
                f"{stage.environment['TOCSIN_DEMO_SECRET']}"
            )
            while not stop.wait(0.5):
                children.check()
        return summary
    finally:
        stop.set()
        children.stop()
        if feeder.is_alive():
            feeder.join(2)
        watcher.close()


def _bootstrap(stage: Stage) -> str:
    return stage.configuration.kafka.bootstrap_servers


def _feed(configuration: Configuration, recording: Path, speed: float) -> Feed:
    """The recording, shifted by whole minutes so that it and its tail end now."""
    files = sorted(recording.glob("*.jsonl.gz"))
    if not files:
        raise RuntimeError(f"{recording} holds no *.jsonl.gz; name a folder with a recording")
    last_ms = 0
    for line in read_events(files):
        last_ms = orjson.loads(line)["time"]
    shift_ms = int(time.time() * 1000) - last_ms - TAIL_SECONDS * 1000 - HEARTBEAT_MS
    return Feed(
        lines=read_events(files),
        topic=configuration.sources[0].topic,
        partitions=RAW_PARTITIONS,
        shift_ms=shift_ms // 60_000 * 60_000,
        tail_ms=TAIL_SECONDS * 1000,
        speed=speed,
        group=configuration.worker.consumer_group,
    )


def _wait_until_ready(
    configuration: Configuration, children: Children, stop: threading.Event
) -> None:
    """Waits for every process to say that it is ready."""
    addresses = [
        configuration.worker.admin,
        configuration.notifier.listen,
        configuration.case_store.listen,
        configuration.status_page.listen,
    ]
    deadline = time.monotonic() + START_SECONDS
    for address in addresses:
        while not _is_ready(f"http://{address.host}:{address.port}/health/ready"):
            children.check()
            if stop.wait(0.2):
                raise _Stopped
            if time.monotonic() > deadline:
                raise TimeoutError(f"not everything was ready within {START_SECONDS} s")


def _is_ready(url: str) -> bool:
    try:
        with urlopen(url, timeout=2) as answer:  # noqa: S310 - our own address
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


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
                raise _Stopped
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
