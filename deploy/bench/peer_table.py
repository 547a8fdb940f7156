"""`tocsin bench peers`: the same job in other engines, in one sitting, with what each promises.

All read one topic of a Kafka started for it, each in a fresh process held to one processor. tocsin
decodes, keeps windows with quantile sketches and detects; its peers decode and add up windows.
"""

import json as jsonlib
import os
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from deploy.bench.answer import answer
from deploy.bench.place import Place, place
from deploy.bench.process import measure, processors
from deploy.bench.task import PARTITIONS, BenchError, Measured, Task, configuration
from deploy.brokers import apache
from deploy.topics import changelogs, plan

EVENTS: Final = 200_000
TIMEOUT_SECONDS: Final = 600
_PIN = "import os, sys; os.sched_setaffinity(0, {%d}); os.execv(sys.argv[1], sys.argv[1:])"
_FOLDER = Path(__file__).parent / "peers"


class Peer(NamedTuple):
    """An engine, its program if it is not ours, and what it promises about a crash."""

    name: str
    program: str | None
    guarantee: str


PEERS: Final = (
    Peer("bare", None, "none: a loop that keeps nothing"),
    Peer("tocsin", None, "counts exact after a crash: state and offset are one; repeats have ids"),
    Peer("faust", "faust_agent.py", "at least once: table and offsets are committed apart"),
    Peer("quixstreams", "quixstreams_windows.py", "at least once; exactly once if so set"),
    Peer("bytewax", "bytewax_windows.py", "none as run; at least once if it has a recovery store"),
    Peer("pathway", "pathway_windows.py", "none as run; at least once if it persists"),
)


class Sitting(NamedTuple):
    """What all engines of a sitting have in common."""

    task: Task
    where: Place
    cpu: int | None
    python: Path
    folder: Path


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One engine. `cpu` is microseconds of processor time an event."""

    events_per_second: int
    cpu: float
    guarantee: str


class Peers(msgspec.Struct, frozen=True, kw_only=True):
    """The result; `missing` are the engines that are not installed."""

    events: int
    events_per_second: dict[str, int]
    engines: dict[str, Row]
    missing: list[str]


def main(
    *,
    events: int = EVENTS,
    python: Path | None = None,
    bootstrap: str | None = None,
    json: Path | None = None,
) -> int:
    """Measures, prints a table and writes `json`. Returns 0, or 1 where it could not measure.

    `python` is the interpreter of the peers' environment, `.venv-peers` by default.
    """
    python = (python or Path(".venv-peers/bin/python")).absolute()
    return answer(lambda _: run(events, python, bootstrap), table, json, remark=_missing)


def _missing(result: Peers) -> str | None:
    missing = ", ".join(result.missing)
    return f"not installed: {missing}; `make peers` installs them" if missing else None


def run(events: int, python: Path, bootstrap: str | None) -> Peers:
    """Fills a topic and lets each engine read it. Raises `BenchError`."""
    broker: Literal["mock", "kafka"] = "kafka" if bootstrap or apache.available() else "mock"
    cpu, others = processors()
    name = f"tocsin-bench-{uuid.uuid4().hex[:8]}"
    engines: dict[str, Row] = {}
    missing: list[str] = []
    with (
        tempfile.TemporaryDirectory(prefix="tocsin-bench-") as folder,
        place(broker, bootstrap, name, others) as where,
        Progress(console=Console(stderr=True), transient=True) as progress,
    ):
        task = Task(
            kind="load",
            events=events,
            topic=f"{name}.raw",
            name=f"{name}.tocsin",
            bootstrap_servers=where.servers,
            create_topics=where.admin,
        )
        where.create(task.topic, PARTITIONS)
        sitting = Sitting(task, where, cpu, python, Path(folder))
        measure(task, Path(folder))
        for peer in progress.track(PEERS):
            if not _installed(peer, python):
                missing.append(peer.name)
                continue
            measured = _measured(peer, sitting)
            engines[peer.name] = Row(
                events_per_second=round(measured.events / measured.seconds),
                cpu=round(measured.cpu_seconds * 1e6 / measured.events, 2),
                guarantee=peer.guarantee,
            )
    rates = {name: row.events_per_second for name, row in engines.items()}
    return Peers(events=events, events_per_second=rates, engines=engines, missing=missing)


def _measured(peer: Peer, sitting: Sitting) -> Measured:
    task, where, cpu = sitting.task, sitting.where, sitting.cpu
    if peer.name == "bare":
        return measure(msgspec.structs.replace(task, kind="bare", cpu=cpu), sitting.folder)
    if peer.name == "tocsin":
        settings = configuration(task)
        for topic in plan(settings) + changelogs(settings, {task.topic: PARTITIONS}):
            where.create(topic.name, topic.partitions)
        return measure(msgspec.structs.replace(task, kind="worker", cpu=cpu), sitting.folder)
    return _foreign(peer, sitting)


def _installed(peer: Peer, python: Path) -> bool:
    return peer.program is None or peer.name == "faust" or python.exists()


def _foreign(peer: Peer, sitting: Sitting) -> Measured:
    """Runs a peer's program. Raises `BenchError` with what it said last."""
    task, name = sitting.task, sitting.task.topic.removesuffix(".raw")
    job = {
        "servers": task.bootstrap_servers,
        "topic": task.topic,
        "output": f"{name}.{peer.name}",
        "group": f"{name}.{peer.name}",
        "events": task.events,
    }
    sitting.where.create(str(job["output"]), PARTITIONS)
    executable = sys.executable if peer.name == "faust" else str(sitting.python)
    command = [executable, str(_FOLDER / str(peer.program)), jsonlib.dumps(job)]
    if sitting.cpu is not None:  # for the whole process, as measured processes do for themselves
        command = [sys.executable, "-c", _PIN % sitting.cpu, *command]
    try:
        done = subprocess.run(  # noqa: S603
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd=sitting.folder,
            env={**os.environ, "PYTHONPATH": ""},
            timeout=TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise BenchError(f"{peer.name} was not done after {TIMEOUT_SECONDS} s") from None
    said = [line for line in done.stdout.splitlines() if line.startswith('{"events"')]
    if not said:
        last = "\n".join((done.stderr or done.stdout).strip().splitlines()[-6:])
        raise BenchError(f"{peer.name} ended with {done.returncode}: {last}")
    told = jsonlib.loads(said[-1])
    if told["events"] != task.events:
        raise BenchError(f"{peer.name} read {told['events']} of {task.events} records")
    return Measured(kind=peer.name, peak_rss_mb=0.0, **told)


def table(result: Peers) -> Table:
    """The result for a terminal, the fastest first."""
    shown = Table(title=f"{result.events:,} events, one core", title_justify="left")
    for heading in ("", "events/s", "µs of processor an event", "after a crash"):
        shown.add_column(heading, justify="right" if "/" in heading or "µs" in heading else "left")
    for name, row in sorted(result.engines.items(), key=lambda x: -x[1].events_per_second):
        shown.add_row(name, f"{row.events_per_second:,}", f"{row.cpu:.2f}", row.guarantee)
    return shown
