"""The runner's tables; the migrations make them."""

from pathlib import Path

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, Table, Text

from sinks.database import Schema

SCHEMA = Schema("playbooks", "playbooks_version", Path(__file__).parent / "migrations")
metadata = MetaData(naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_name)s"})

run = Table(
    "playbook_run",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("incident_id", Text, nullable=False),
    Column("playbook", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("asked_ms", BigInteger, nullable=False),
    Column("started_ms", BigInteger),
    Column("ended_ms", BigInteger),
    Column("outcome", Text),
    Column("text", Text),
    Index(None, "state"),
)
"""One row an incident and playbook: asked, running, done (what came of it is not in the log yet),
told. Times are the wall clock's."""

position = Table(
    "playbook_position",
    metadata,
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("next_offset", BigInteger, nullable=False),
)
