"""How far a sink has read each topic, kept in its own store beside what the records led to.

The table, of any name, has the columns `topic`, `partition` and `next_offset`.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import Table, case, select
from sqlalchemy.ext.asyncio import AsyncConnection

from sinks.database import insert
from sinks.sink import Record

Positions = dict[tuple[str, int], int]
"""The next offset to read by topic and partition."""


async def read_positions(connection: AsyncConnection, table: Table) -> Positions:
    """The next offset to read by topic and partition."""
    rows = await connection.execute(select(table))
    return {(row.topic, row.partition): row.next_offset for row in rows}


async def move_positions(
    connection: AsyncConnection, table: Table, positions: Mapping[tuple[str, int], int]
) -> None:
    """Notes the next offsets to read. A position never goes back."""
    statement = insert(connection, table)
    theirs, ours = statement.excluded.next_offset, table.c.next_offset
    statement = statement.on_conflict_do_update(
        index_elements=["topic", "partition"],
        set_={"next_offset": case((theirs > ours, theirs), else_=ours)},
    )
    rows = [
        {"topic": topic, "partition": partition, "next_offset": offset}
        for (topic, partition), offset in sorted(positions.items())
    ]
    if rows:
        await connection.execute(statement, rows)


async def take_new(
    connection: AsyncConnection, table: Table, records: Sequence[Record]
) -> list[Record]:
    """The records that were not read before, behind which the positions move.

    For the transaction in which the records take effect.
    """
    known = await read_positions(connection, table)
    ends: Positions = {}
    new = []
    for record in records:
        place = (record.topic, record.partition)
        if record.offset >= ends.get(place, known.get(place, 0)):
            ends[place] = record.offset + 1
            new.append(record)
    await move_positions(connection, table, ends)
    return new
