"""A notifier process that is killed in the middle of sending, again and again."""

import asyncio
import os
import signal
import sys
from functools import partial
from pathlib import Path

import msgspec
import pytest

from schemas.configuration import Channels, Configuration, Recipient, Route, WebhookChannel
from schemas.configuration import Notifier as NotifierSection
from tests.sinks.examples import cpu_incident, event, record
from tests.sinks.notifier.conftest import NEVER_STALE_SECONDS, until
from tests.sinks.notifier.receivers import Receiver, receiver

INCIDENTS = 40
PROGRAM = """
import asyncio, sys, time
from pathlib import Path
import msgspec
from schemas.configuration import Configuration
from sinks.notifier import Notifier
from sinks.sink import Record

async def publish(topic, key, value, headers=None):
    with Path(sys.argv[3]).open("ab") as file:
        file.write(value + b"\\n")

async def main():
    configuration = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Configuration)
    log = msgspec.json.decode(Path(sys.argv[2]).read_bytes(), type=list[Record])
    notifier = Notifier(
        configuration, resolve=lambda s: "", publish=publish,
        now_ms=lambda: int(time.time() * 1000),
    )
    await notifier.start()
    first = (await notifier.positions()).get((log[0].topic, 0), 0)
    for number in range(first, len(log), 5):
        await notifier.apply(log[number : number + 5])
        await asyncio.sleep(0.02)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.slow
async def test_kills_lose_no_message_and_keep_their_ids_and_order(tmp_path: Path) -> None:
    async with receiver() as hook:
        hook.script = [500 if number % 7 == 0 else 200 for number in range(60)]
        arguments = prepare(tmp_path, hook.url)
        for more in (3, 7, 11):
            process = await start(arguments)
            await until(partial(has_taken, hook, len(hook.requests) + more), seconds=60)
            process.send_signal(signal.SIGKILL)
            await process.wait()
        assert len(set(hook.ids)) < 2 * INCIDENTS  # each was killed at work
        process = await start(arguments)
        try:
            await until(lambda: len(set(hook.ids)) == 2 * INCIDENTS, seconds=60)
        finally:
            process.kill()
            await process.wait()
    first_seen: dict[str, list[str]] = {}
    for message_id, (_, body) in zip(hook.ids, hook.requests, strict=True):
        data = msgspec.json.decode(body)
        seen = first_seen.setdefault(data["data"]["incident_id"], [])
        if message_id not in seen:
            seen.append(message_id)
            assert data["type"] == ("incident.opened", "incident.resolved")[len(seen) - 1]
    assert len(first_seen) == INCIDENTS
    assert all(len(seen) == 2 for seen in first_seen.values())


def has_taken(hook: Receiver, count: int) -> bool:
    return len(hook.requests) >= count


def prepare(folder: Path, url: str) -> list[str]:
    """The program's arguments: configuration, log and where deliveries go."""
    configuration = Configuration(
        notifier=NotifierSection(
            stale_after_seconds=NEVER_STALE_SECONDS,
            store=f"sqlite:///{folder / 'store.sqlite3'}",
            channels=Channels(webhooks={"desk": WebhookChannel(url=url)}),
            recipients=(Recipient(name="desk", channel="webhook:desk"),),
            routes=(Route(name="all", recipients=("desk",)),),
        )
    )
    events = []
    for number in range(INCIDENTS):
        opened = cpu_incident(id=f"inc-{number}")
        resolved = cpu_incident(id=f"inc-{number}", version=2, state="resolved")
        events += [event(opened, "opened"), event(resolved, "resolved")]
    records = [record(made, offset) for offset, made in enumerate(events)]
    (folder / "configuration.json").write_bytes(msgspec.json.encode(configuration))
    fresh = [msgspec.to_builtins(made) | {"timestamp_ms": FAR_FUTURE_MS} for made in records]
    (folder / "log.json").write_bytes(msgspec.json.encode(fresh))
    return [str(folder / name) for name in ("configuration.json", "log.json", "deliveries.jsonl")]


FAR_FUTURE_MS = 4_000_000_000_000
"""Never too old to be sent."""


async def start(arguments: list[str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM,
        *arguments,
        cwd=Path(__file__).parents[3],
        stderr=asyncio.subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
    )
