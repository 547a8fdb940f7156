"""The tables of the case store. Changing one needs a migration in `migrations`.

JSON stands in TEXT columns as it came: PostgreSQL's JSONB refuses the escape of the NUL character,
which log lines may hold.
"""

from pathlib import Path

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
)

from sinks.database import Schema

SCHEMA = Schema("case_store", "case_store_version", Path(__file__).parent / "migrations")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

case = Table(
    "case",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("incident_id", Text, nullable=False, unique=True),
    Column("environment", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("title", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("public_phase", Text, nullable=False),
    Column("visibility", Text, nullable=False),
    Column("opened_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("resolved_ms", BigInteger),
    Column("closed_ms", BigInteger),
    Column("acknowledged_ms", BigInteger),
    Column("acknowledged_by", Text),
    Column("incident", Text, nullable=False),
    Index(None, "state", "severity"),
)
"""One row an incident: its latest state, in columns to filter by and whole as JSON."""

case_service = Table(
    "case_service",
    metadata,
    Column("number", Integer, ForeignKey("case.number"), primary_key=True),
    Column("service", Text, primary_key=True),
    Index(None, "service"),
)

timeline = Table(
    "timeline",
    metadata,
    Column("event_id", Text, primary_key=True),
    Column("number", Integer, ForeignKey("case.number"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("type", Text, nullable=False),
    Column("time_ms", BigInteger, nullable=False),
    Column("recorded_ms", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("changes", Text, nullable=False),
    Column("command_id", Text),
    Column("incident", Text),
    Index(None, "number", "version"),
)
"""One row an incident event. `time_ms` is event time, `recorded_ms` Kafka's. `incident` is kept
where it explains a decision (opened, reopened, severity changed), not for every update."""

delivery = Table(
    "delivery",
    metadata,
    Column("delivery_id", Text, primary_key=True),
    Column("message_id", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("incident_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("time_ms", BigInteger, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("audience", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("failure", Text),
    Column("detail", Text, nullable=False),
    Column("seconds_to_communicate", Float),
    Column("due_ms", BigInteger),
    Index(None, "incident_id", "time_ms"),
)
"""Who was told; no foreign key, since a delivery can be read before its incident."""

audit = Table(
    "audit",
    metadata,
    Column("entry", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("entry_id", Text, nullable=False, unique=True),
    Column("time_ms", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("way", Text, nullable=False),
    Column("step", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("incident_id", Text),
    Column("command_id", Text),
    Column("detail", Text, nullable=False),
    Index(None, "incident_id"),
    Index(None, "command_id"),
)
"""Who changed what, when (wall clock), through which way. Triggers refuse to change or delete."""

position = Table(
    "position",
    metadata,
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("next_offset", BigInteger, nullable=False),
)
