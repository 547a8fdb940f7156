"""Timers, the trail of what happened to each message, preferences; messages that are held back."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_MESSAGE_COLUMNS = ("kind", "severity", "sent_ms", "hold_until_ms", "hold_reason", "digest_id")


def upgrade() -> None:
    """Adds the tables and columns."""
    counter = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    for column in (
        sa.Column("kind", sa.String, nullable=False, server_default="news"),
        sa.Column("severity", sa.String, nullable=False, server_default="P4"),
        sa.Column("sent_ms", sa.BigInteger),
        sa.Column("hold_until_ms", sa.BigInteger),
        sa.Column("hold_reason", sa.String, nullable=False, server_default=""),
        sa.Column("digest_id", sa.String),
        sa.Column("cancelled", sa.String, nullable=False, server_default=""),
    ):
        op.add_column("notifier_message", column)
    op.create_index(
        "notifier_message_load", "notifier_message", ["recipient", "state", "sent_ms", "seq"]
    )
    op.create_index("notifier_message_digest", "notifier_message", ["digest_id"])
    is_open = sa.Column("is_open", sa.Boolean, nullable=False, server_default=sa.false())
    op.add_column("notifier_incident", is_open)
    for column in (
        sa.Column("severity", sa.String, nullable=False, server_default="P4"),
        sa.Column("opened_ms", sa.BigInteger, nullable=False, server_default="0"),
    ):
        op.add_column("notifier_incident", column)
    _know_what_is_open()
    op.add_column(
        "notifier_delivery", sa.Column("topic", sa.String, nullable=False, server_default="")
    )
    op.create_table(
        "notifier_timer",
        sa.Column("kind", sa.String, primary_key=True),
        sa.Column("subject", sa.String, primary_key=True),
        sa.Column("incident_id", sa.String, nullable=False),
        sa.Column("due_ms", sa.BigInteger),
        sa.Column("state", sa.LargeBinary, nullable=False),
    )
    op.create_index("notifier_timer_due", "notifier_timer", ["due_ms"])
    op.create_index("notifier_timer_incident", "notifier_timer", ["incident_id"])
    op.create_table(
        "notifier_trail",
        sa.Column("seq", counter, primary_key=True, autoincrement=True),
        sa.Column("incident_id", sa.String, nullable=False),
        sa.Column("recipient", sa.String, nullable=False),
        sa.Column("time_ms", sa.BigInteger, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
    )
    op.create_index("notifier_trail_of", "notifier_trail", ["incident_id", "recipient", "seq"])
    op.create_table(
        "notifier_preference",
        sa.Column("recipient", sa.String, primary_key=True),
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("value", sa.String, nullable=False),
        sa.Column("set_ms", sa.BigInteger, nullable=False),
    )


def _know_what_is_open() -> None:
    """Reads off the incidents that are known which are open, how severe, and since when."""
    connection = op.get_bind()
    table = sa.table(
        "notifier_incident",
        sa.column("incident_id", sa.String),
        sa.column("state", sa.LargeBinary),
        sa.column("is_open", sa.Boolean),
        sa.column("severity", sa.String),
        sa.column("opened_ms", sa.BigInteger),
    )
    rows = connection.execute(sa.select(table.c.incident_id, table.c.state)).all()
    for incident_id, state in rows:
        incident = json.loads(state)
        change = table.update().where(table.c.incident_id == incident_id)
        connection.execute(
            change.values(
                is_open=incident["state"] not in ("resolved", "closed"),
                severity=incident["severity"],
                opened_ms=incident["opened_ms"],
            )
        )


def downgrade() -> None:
    """Drops the tables and columns."""
    for name in ("preference", "trail", "timer"):
        op.drop_table(f"notifier_{name}")
    op.drop_column("notifier_delivery", "topic")
    for name in ("opened_ms", "severity", "is_open"):
        op.drop_column("notifier_incident", name)
    op.drop_index("notifier_message_digest", "notifier_message")
    op.drop_index("notifier_message_load", "notifier_message")
    for name in (*_MESSAGE_COLUMNS, "cancelled"):
        op.drop_column("notifier_message", name)
