"""The runs of the store: what was asked, what runs, what is done and told."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import func, select, update

from sinks.database import Database, insert
from sinks.playbooks.actions import Outcome
from sinks.playbooks.tables import position, run
from sinks.positions import read_positions, take_new
from sinks.sink import Record

INTERRUPTED = "was interrupted, and is not run twice for one incident"
OVER = "was not begun before the incident was over"


class Said(NamedTuple):
    """What an event says of runs: the row of one that is `asked` for, the incident that is `over`,
    for which nothing is begun any more."""

    asked: Mapping[str, Any] | None = None
    over: str | None = None


class Runs:
    """All that the runner remembers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def positions(self) -> Mapping[tuple[str, int], int]:
        """The next offset to read by topic and partition."""
        async with self._database.reading() as connection:
            return await read_positions(connection, position)

    async def take(self, records: Sequence[Record], said: Callable[[Record], Said]) -> None:
        """Notes what the records that are new say, and the positions."""
        async with self._database.writing() as connection:
            for event in map(said, await take_new(connection, position, records)):
                if event.asked is not None:
                    statement = insert(connection, run).on_conflict_do_nothing()
                    await connection.execute(statement, event.asked)
                if event.over is not None:
                    waits = (run.c.incident_id == event.over) & (run.c.state == "asked")
                    values = {"state": "done", "outcome": "failed", "text": OVER}
                    await connection.execute(update(run).where(waits).values(**values))

    async def give_up_interrupted(self, now_ms: int) -> None:
        """Ends what was running when the process ended: nobody knows how far it came."""
        values = {"state": "done", "outcome": "failed", "text": INTERRUPTED, "ended_ms": now_ms}
        await self._change(run.c.state == "running", values)

    async def open(self) -> list[Any]:
        """The runs that are asked for or done and not told, the oldest first."""
        async with self._database.reading() as connection:
            wanted = run.c.state.in_(("asked", "done"))
            rows = await connection.execute(
                select(run).where(wanted).order_by(run.c.asked_ms, run.c.run_id)
            )
            return list(rows.all())

    async def waiting(self) -> int:
        """How many runs are not told yet."""
        async with self._database.reading() as connection:
            count = select(func.count()).select_from(run).where(run.c.state != "told")
            return int((await connection.execute(count)).scalar_one())

    async def begin(self, run_id: str, now_ms: int) -> Outcome | None:
        """Notes that it runs, before it does; what came of it if it is done by now."""
        async with self._database.writing() as connection:
            found = await connection.execute(select(run).where(run.c.run_id == run_id))
            row = found.one()
            if row.state != "asked":
                return Outcome(row.outcome, row.text)
            values = {"state": "running", "started_ms": now_ms}
            await connection.execute(update(run).where(run.c.run_id == run_id).values(**values))
            return None

    async def finish(self, run_id: str, outcome: Outcome, now_ms: int) -> None:
        """Notes what came of it."""
        values = {
            "state": "done",
            "ended_ms": now_ms,
            "outcome": outcome.result,
            "text": outcome.text.replace("\0", "\ufffd"),
        }
        await self._change(run.c.run_id == run_id, values)

    async def told(self, run_id: str) -> None:
        """Notes that the result is in the log."""
        await self._change(run.c.run_id == run_id, {"state": "told"})

    async def _change(self, which: Any, values: Mapping[str, Any]) -> None:
        async with self._database.writing() as connection:
            await connection.execute(update(run).where(which).values(**values))
