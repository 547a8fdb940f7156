"""Cases, timeline, deliveries, audit and positions."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

APPEND_ONLY = {
    "sqlite": (
        "CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit "
        "BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END",
        "CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit "
        "BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END",
    ),
    "postgresql": (
        "CREATE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the audit is append-only'; END $$",
        "CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only()",
    ),
}


def upgrade() -> None:
    """From nothing."""
    _cases()
    _told()
    _audit()
    op.create_table(
        "position",
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("partition", sa.Integer, nullable=False),
        sa.Column("next_offset", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("topic", "partition", name="pk_position"),
    )


def _cases() -> None:
    op.create_table(
        "case",
        sa.Column("number", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("incident_id", sa.Text, nullable=False),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("public_phase", sa.Text, nullable=False),
        sa.Column("visibility", sa.Text, nullable=False),
        sa.Column("opened_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_ms", sa.BigInteger, nullable=False),
        sa.Column("resolved_ms", sa.BigInteger),
        sa.Column("closed_ms", sa.BigInteger),
        sa.Column("acknowledged_ms", sa.BigInteger),
        sa.Column("acknowledged_by", sa.Text),
        sa.Column("incident", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_case"),
        sa.UniqueConstraint("incident_id", name="uq_case_incident_id"),
    )
    op.create_index("ix_case_state_severity", "case", ["state", "severity"])
    op.create_table(
        "case_service",
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("service", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("number", "service", name="pk_case_service"),
        sa.ForeignKeyConstraint(["number"], ["case.number"], name="fk_case_service_number"),
    )
    op.create_index("ix_case_service_service", "case_service", ["service"])
    op.create_table(
        "timeline",
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("time_ms", sa.BigInteger, nullable=False),
        sa.Column("recorded_ms", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("changes", sa.Text, nullable=False),
        sa.Column("command_id", sa.Text),
        sa.Column("incident", sa.Text),
        sa.PrimaryKeyConstraint("event_id", name="pk_timeline"),
        sa.ForeignKeyConstraint(["number"], ["case.number"], name="fk_timeline_number"),
    )
    op.create_index("ix_timeline_number_version", "timeline", ["number", "version"])


def _told() -> None:
    op.create_table(
        "delivery",
        sa.Column("delivery_id", sa.Text, nullable=False),
        sa.Column("message_id", sa.Text, nullable=False),
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("incident_id", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("time_ms", sa.BigInteger, nullable=False),
        sa.Column("recipient", sa.Text, nullable=False),
        sa.Column("audience", sa.Text, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("failure", sa.Text),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("seconds_to_communicate", sa.Float),
        sa.PrimaryKeyConstraint("delivery_id", name="pk_delivery"),
    )
    op.create_index("ix_delivery_incident_id_time_ms", "delivery", ["incident_id", "time_ms"])


def _audit() -> None:
    entry = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "audit",
        sa.Column("entry", entry, nullable=False),
        sa.Column("entry_id", sa.Text, nullable=False),
        sa.Column("time_ms", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("way", sa.Text, nullable=False),
        sa.Column("step", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("incident_id", sa.Text),
        sa.Column("command_id", sa.Text),
        sa.Column("detail", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("entry", name="pk_audit"),
        sa.UniqueConstraint("entry_id", name="uq_audit_entry_id"),
    )
    op.create_index("ix_audit_incident_id", "audit", ["incident_id"])
    op.create_index("ix_audit_command_id", "audit", ["command_id"])
    for statement in APPEND_ONLY[op.get_bind().dialect.name]:
        op.execute(statement)
