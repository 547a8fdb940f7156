"""This release reads what earlier ones wrote: states, messages and stores, as recorded bytes."""

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from deploy.contracts import MESSAGES
from schemas.incidents import IncidentEvent
from schemas.reading import NewerMessageError
from sinks.database import StoreError
from streams.detect_versions import DETECT
from streams.incidents import INCIDENTS
from streams.ingest import INGEST
from streams.pipeline import Pipeline
from streams.shell.checkpoints import Checkpoint, latest
from streams.shell.stages import Snapshots
from streams.versions import Ladder, UnknownVersionError
from tests.recorded.record import run
from tests.recorded.stores import (
    SCHEMAS,
    Address,
    Log,
    asks_for_playbook,
    held,
    laid_out,
    moved,
    records,
    sinks,
)
from tests.recorded.workload import (
    CONFIGURATION,
    MINUTE_MS,
    MINUTES,
    RECORDED_MINUTES,
    START_MS,
    lines,
)
from tests.sinks.conftest import new_database

RELEASES = sorted(
    path for path in Path(__file__).parent.iterdir() if (path / "messages.gz").exists()
)
LOG = CONFIGURATION.topics.incident_events

NOT_WRITTEN_BY = {"silence_events": ("0.1.0",)}
"""Releases that did not write to a topic yet."""

every_release = pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)


def read(file: Path) -> Any:
    return msgspec.msgpack.decode(gzip.decompress(file.read_bytes()))


def checkpoint(release: Path, stage: str) -> Checkpoint:
    found = latest(0, dict(read(release / f"{stage}.changelog.gz")))
    assert found is not None
    return found


def messages(release: Path, topic: str) -> list[bytes]:
    return [value for name, _, value, *_ in read(release / "messages.gz") if name == topic]


def restored(release: Path) -> Pipeline:
    pipeline = Pipeline(CONFIGURATION)
    pipeline.ingest.restore(checkpoint(release, "ingest").state)
    pipeline.detect[0].restore(checkpoint(release, "detect").state)
    pipeline.incidents.restore(checkpoint(release, "incident").state)
    return pipeline


def rest(pipeline: Pipeline) -> Iterator[IncidentEvent]:
    """What a pipeline says of the minutes that come after the recording."""
    for minute in range(RECORDED_MINUTES, MINUTES):
        yield from pipeline.process(run(lines(minute, minute + 1), 0)).events


def test_there_is_a_recording() -> None:
    assert [path.name for path in RELEASES][-1:] == ["0.1.0"]


@every_release
def test_a_worker_goes_on_with_what_the_last_release_had_learnt(release: Path) -> None:
    events = list(rest(restored(release)))
    known = {event.incident_id for event in decoded(release)}
    resolved = [e for e in events if e.type == "resolved" and e.incident_id in known]
    opened = [e for e in events if e.type == "opened"]
    assert [e.incident.suspected_causes[0] for e in resolved] == ["stock"]
    assert [e.incident.suspected_causes[0] for e in opened] == ["cart"]
    # Who had begun to learn anew would not know at once that this is out of order.
    late_ms = opened[0].time_ms - (START_MS + 110 * MINUTE_MS)
    assert 0 < late_ms <= MINUTE_MS


def decoded(release: Path) -> list[IncidentEvent]:
    return [msgspec.json.decode(value, type=IncidentEvent) for value in messages(release, LOG)]


@every_release
@pytest.mark.parametrize("field", sorted(MESSAGES))
def test_every_message_of_the_last_release_is_read(release: Path, field: str) -> None:
    kind = MESSAGES[field][0]
    found = messages(release, getattr(CONFIGURATION.topics, field))
    assert bool(found) == (release.name not in NOT_WRITTEN_BY.get(field, ()))
    for value in found:
        written = msgspec.json.decode(value)
        read_back = msgspec.json.decode(msgspec.json.encode(msgspec.json.decode(value, type=kind)))
        assert _within(written, read_back)


def _within(written: Any, read_back: Any) -> bool:
    """Whether nothing that was written is lost on who reads it."""
    if isinstance(written, dict) and isinstance(read_back, dict):
        return all(
            _within(v, read_back[k]) for k, v in written.items() if k in read_back or v is not None
        )
    if isinstance(written, list):
        return len(written) == len(read_back) and all(map(_within, written, read_back))
    return bool(written == read_back)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Path], Address]:
    """Lays out the stores of a release, as it recorded them or as it would have on PostgreSQL."""

    def lay_out(release: Path) -> Address:
        files = laid_out(release, tmp_path)
        if request.param == "sqlite":
            return files
        server = request.getfixturevalue("postgres_url")
        made = {name: new_database(server, f"recorded {name}") for name in SCHEMAS}
        return moved(files, made.__getitem__)

    return lay_out


@every_release
async def test_the_sinks_go_on_with_the_stores_of_the_last_release(
    release: Path, stores: Callable[[Path], Address]
) -> None:
    store = stores(release)
    log, published, news = messages(release, LOG), Log(), list(rest(restored(release)))
    ends = msgspec.json.encode(next(e for e in news if e.type == "resolved"))
    opens = msgspec.json.encode(next(e for e in news if e.type == "opened"))
    made = sinks(store, published)
    assert set(made) == set(SCHEMAS)
    for name, sink in made.items():
        recorded = told(store(name))
        await sink.start()
        assert (await sink.positions())[LOG, 0] == len(log)
        before = told(store(name))
        assert len(before) >= len(recorded) > 0
        await sink.apply(records(LOG, log))
        assert told(store(name)) == before
        new = asks_for_playbook(opens) if name == "playbooks" else ends
        await sink.apply(records(LOG, [new], len(log)))
        assert (await sink.positions())[LOG, 0] == len(log) + 1
        assert told(store(name)) != before
        await sink.stop()


def told(url: str) -> list[str]:
    """All rows that a store has of incidents."""
    return [line for line in held(url) if "INC-" in line]


@every_release
@pytest.mark.parametrize("ladder", [INGEST, DETECT, INCIDENTS], ids=lambda ladder: ladder.what)
def test_a_state_of_a_newer_release_is_refused_and_nothing_is_changed(
    release: Path, ladder: Ladder
) -> None:
    pipeline = restored(release)
    stages: dict[Ladder, Snapshots] = {
        INGEST: pipeline.ingest,
        DETECT: pipeline.detect[0],
        INCIDENTS: pipeline.incidents,
    }
    stage = stages[ladder]
    before = stage.snapshot()
    _, *parts = msgspec.msgpack.decode(before)
    newer = msgspec.msgpack.encode([ladder.version + 1, *parts, {"what": "nobody knows yet"}])
    with pytest.raises(UnknownVersionError, match="written by a newer release"):
        stage.restore(newer)
    assert stage.snapshot() == before


NEW_IN_A_MESSAGE: tuple[dict[str, Any], ...] = ({"schema_version": 2}, {"type": "frobnicated"})


@every_release
@pytest.mark.parametrize("new", NEW_IN_A_MESSAGE, ids=str)
async def test_a_sink_stops_before_what_a_newer_worker_says_and_reads_on_from_there(
    release: Path, tmp_path: Path, new: dict[str, Any]
) -> None:
    store = laid_out(release, tmp_path)
    log = messages(release, LOG)
    newer = msgspec.json.decode(log[-1]) | {"version": 99} | new
    newer["incident"]["version"] = 99
    understood = newer | {"schema_version": 1, "type": "updated"}
    for name, sink in sinks(store, Log()).items():
        await sink.start()
        before = held(store(name))
        with pytest.raises(NewerMessageError, match=f"{LOG}/0 at offset {len(log)}"):
            await sink.apply(records(LOG, [msgspec.json.encode(newer)], len(log)))
        assert held(store(name)) == before
        await sink.apply(records(LOG, [msgspec.json.encode(understood)], len(log)))
        assert held(store(name)) != before
        await sink.stop()


async def test_a_store_of_a_newer_release_is_left_as_it_is(
    tmp_path: Path, stores: Callable[[Path], Address]
) -> None:
    store = stores(RELEASES[-1])
    for name, schema in SCHEMAS.items():
        engine = sa.create_engine(store(name).replace("postgresql:", "postgresql+psycopg:"))
        with engine.begin() as connection:
            newer = sa.text(f"UPDATE {schema.version_table} SET version_num = '9999'")
            connection.execute(newer)
        engine.dispose()
    for name, sink in sinks(store, Log()).items():
        before = held(store(name))
        with pytest.raises(StoreError, match="written by a newer tocsin"):
            await sink.start()
        assert held(store(name)) == before
        await sink.stop()
