"""Escalations and promises in real time, by a process that is killed again and again."""

import asyncio
import signal
import time
from pathlib import Path
from typing import Literal

import msgspec
import pytest

from schemas.configuration import Channels, Configuration, Recipient, Route, WebhookChannel
from schemas.configuration import Notifier as NotifierSection
from schemas.oncall import Cadence, Escalation, MessageLimit, Step
from tests.sinks.examples import cpu_incident, event, record
from tests.sinks.notifier.conftest import NEVER_STALE_SECONDS, until
from tests.sinks.notifier.receivers import Receiver, receiver
from tests.sinks.notifier.test_kill import FAR_FUTURE_MS, start

Audience = Literal["engineer", "support"]
Process = asyncio.subprocess.Process
SECOND_STEP_SECONDS = 12.0
LATE_SECONDS = 5.0


def prepare(folder: Path, url: str, *, cadence: Cadence, audience: Audience) -> list[str]:
    policy = Escalation(
        name="shop",
        repeats=0,
        steps=(
            Step(notify=("first",)),
            Step(notify=("second",), after_minutes=SECOND_STEP_SECONDS / 60),
        ),
    )
    channel = "webhook:desk"
    configuration = Configuration(
        notifier=NotifierSection(
            stale_after_seconds=NEVER_STALE_SECONDS,
            store=f"sqlite:///{folder / 'store.sqlite3'}",
            channels=Channels(webhooks={"desk": WebhookChannel(url=url)}),
            recipients=(
                Recipient(name="first", channel=channel),
                Recipient(name="second", channel=channel, audience=audience),
            ),
            routes=(
                Route(name="all", severities=("P1", "P2"), escalation="shop"),
                Route(name="desk", recipients=("second",) if audience == "support" else ()),
            ),
            escalations=(policy,),
            limit=MessageLimit(messages=0),
            cadence=cadence,
        )
    )
    opened = record(event(cpu_incident(severity="P1"), "opened"), 0)
    fresh = msgspec.to_builtins(opened) | {"timestamp_ms": FAR_FUTURE_MS}
    (folder / "configuration.json").write_bytes(msgspec.json.encode(configuration))
    (folder / "log.json").write_bytes(msgspec.json.encode([fresh]))
    return [str(folder / name) for name in ("configuration.json", "log.json", "deliveries.jsonl")]


def said(hook: Receiver, field: str) -> list[str]:
    return [msgspec.json.decode(body)["data"][field] for _, body in hook.requests]


async def kill_thrice(process: Process, arguments: list[str]) -> Process:
    for _ in range(3):
        await asyncio.sleep(0.7)
        process.send_signal(signal.SIGKILL)
        await process.wait()
        process = await start(arguments)
    return process


@pytest.mark.slow
async def test_the_next_step_is_in_time_though_the_notifier_is_killed_meanwhile(
    tmp_path: Path,
) -> None:
    async with receiver() as hook:
        arguments = prepare(tmp_path, hook.url, cadence=Cadence(minutes={}), audience="engineer")
        process = await start(arguments)
        try:
            await until(lambda: said(hook, "recipient") == ["first"], "the first page", seconds=60)
            first_at = time.monotonic()
            process = await kill_thrice(process, arguments)
            await until(lambda: "second" in said(hook, "recipient"), "the second page", seconds=60)
            waited = time.monotonic() - first_at
        finally:
            process.kill()
            await process.wait()
    assert SECOND_STEP_SECONDS - 1 < waited < SECOND_STEP_SECONDS + LATE_SECONDS
    assert len(set(hook.ids)) == 2


@pytest.mark.slow
async def test_a_promise_is_reminded_of_in_time_though_the_notifier_is_killed_meanwhile(
    tmp_path: Path,
) -> None:
    async with receiver() as hook:
        cadence = Cadence(minutes={"P1": 1})
        arguments = prepare(tmp_path, hook.url, cadence=cadence, audience="support")
        process = await start(arguments)
        try:
            await until(lambda: "second" in said(hook, "recipient"), "the news", seconds=60)
            told_at = time.time()
            process = await kill_thrice(process, arguments)
            await until(lambda: "update_due" in said(hook, "kind"), "the reminder", seconds=100)
            waited = time.time() - told_at
        finally:
            process.kill()
            await process.wait()
    # The promise was made a moment before the news came, perhaps in the minute before.
    halves = [(-(-(at + 60) // 60) * 60 - at) / 2 for at in (told_at - 2, told_at)]
    assert any(half - 5 < waited < half + LATE_SECONDS for half in halves)
    assert said(hook, "kind").count("update_due") == 1
