"""Records what this release writes, for the next one to read: states and messages.

`python -m tests.recorded.record FOLDER`, run once at a release with that release's code; the
tests beside it read what is there. Stores of the sinks are SQL, all else msgpack, gzipped.
"""

import asyncio
import gzip
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from schemas.incidents import Command, IncidentEvent
from streams.pipeline import Pipeline
from streams.run import Run
from streams.shell import outgoing
from streams.shell.checkpoints import CHUNK_BYTES, Checkpoint, Outgoing, records_of
from streams.shell.stages import Snapshots
from tests.recorded.stores import dumped, fill
from tests.recorded.workload import CONFIGURATION, MINUTE_MS, RECORDED_MINUTES, START_MS, lines


def run(values: list[bytes], offset: int) -> Run:
    """Raw records as a worker is given them."""
    size = len(values)
    return Run("replay", 0, range(offset, offset + size), [-1] * size, [None] * size, values)


def commands(minute: int, open_id: str) -> list[Command]:
    """What people say in this minute."""
    at_ms = START_MS + minute * MINUTE_MS
    if minute == 61:
        return [
            Command(id="1", type="acknowledge", incident_id=open_id, actor="ann", issued_ms=at_ms),
            Command(
                id="2", type="note", incident_id=open_id, actor="ann", issued_ms=at_ms, text="Mine."
            ),
        ]
    if minute == 62:
        return [
            Command(
                id="4",
                type="silence",
                incident_id="",
                actor="ann",
                issued_ms=at_ms,
                matchers=("service=stock", "kind=latency"),
                to_ms=at_ms + 20 * MINUTE_MS,
            )
        ]
    if minute == 99:
        return [
            Command(id="3", type="note", incident_id=open_id, actor="bo", issued_ms=at_ms, text="?")
        ]
    return []


def record(folder: Path) -> None:
    """Writes every file of the recording."""
    folder.mkdir(parents=True, exist_ok=True)
    pipeline, topics, offset = Pipeline(CONFIGURATION), CONFIGURATION.topics, 0
    said: list[Outgoing] = []
    events: list[IncidentEvent] = []
    for minute in range(RECORDED_MINUTES):
        values = lines(minute, minute + 1)
        if minute == 30:
            values.append(b"{broken")
        passed = pipeline.process(taken := run(values, offset))
        offset += len(values)
        events += passed.events
        asked = commands(minute, events[-1].incident_id if events else "")
        obeyed = pipeline.command(asked)
        events += obeyed
        said += [Outgoing(topics.commands, None, msgspec.json.encode(c)) for c in asked]
        said += outgoing.observations(passed.observations, topics)
        said += outgoing.anomalies(passed.anomalies, topics)
        said += outgoing.incident_events([*passed.events, *obeyed], topics)
        said += outgoing.silence_events(pipeline.incidents.silence_events, topics)
        pipeline.incidents.silence_events.clear()
        said += outgoing.dead_letters(passed.dead_letters, taken, "production", topics)
    states: tuple[tuple[str, Snapshots, str], ...] = (
        ("ingest", pipeline.ingest, "replay"),
        ("detect", pipeline.detect[0], topics.observations),
        ("incident", pipeline.incidents, topics.anomalies),
    )
    for name, stage, topic in states:
        source = f"{topic}/0"
        checkpoint = Checkpoint(7, stage.snapshot(), {source: offset}, tuple(said[-1:]))
        _write(folder / f"{name}.changelog.gz", records_of(0, checkpoint))
    with tempfile.TemporaryDirectory() as stores:
        log = [r.value or b"" for r in said if r.topic == topics.incident_events]
        deliveries = asyncio.run(fill(Path(stores), log))
        for file in Path(stores).glob("*.sqlite3"):
            content = gzip.compress(dumped(file).encode(), mtime=0)
            (folder / f"{file.stem}.sql.gz").write_bytes(content)
    said += [Outgoing(topics.deliveries, None, value) for value in deliveries]
    _write(folder / "messages.gz", _some(said))
    print(f"{len(said)} messages, {offset} records, chunks of {CHUNK_BYTES}")


def _some(said: list[Outgoing]) -> list[Outgoing]:
    """All that is about incidents, and of the windows the last quarter of an hour of each topic."""
    few = (CONFIGURATION.topics.observations, CONFIGURATION.topics.anomalies)
    kept = [r for r in said if r.topic not in few]
    for topic in few:
        kept += [r for r in said if r.topic == topic][-90:]
    return kept


def _write(file: Path, content: Any) -> None:
    file.write_bytes(gzip.compress(msgspec.msgpack.encode(content), mtime=0))


if __name__ == "__main__":
    record(Path(sys.argv[1]))
