"""A process of its own that feeds a case store from where it stands; for tests that kill it."""

import asyncio
import sys

from schemas import configuration as c
from sinks.case_store import CaseStore
from sinks.sink import Record
from tests.sinks import examples
from tests.sinks.case_store.conftest import NOW_MS, Commands

INCIDENTS = 200
EVENTS = "tocsin.incident-events.v1"


def log() -> list[Record]:
    """What the topic holds: four events an incident."""
    lives = [examples.life(examples.cpu_incident(id=f"inc-{i:03}")) for i in range(INCIDENTS)]
    return [examples.record(e, i) for i, e in enumerate(e for life in lives for e in life)]


async def main(url: str) -> None:
    """Applies the rest of the log, seven records at a time, a line for each."""
    store = CaseStore(
        c.Configuration(case_store=c.CaseStore(store=url)),
        resolve=lambda secret: "",
        publish=Commands(),
        now_ms=lambda: NOW_MS,
    )
    await store.start()
    records = log()
    for start in range((await store.positions()).get((EVENTS, 0), 0), len(records), 7):
        await store.apply(records[start : start + 7])
        print("applied", flush=True)
    await store.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
