"""First tables: positions, incidents, messages, threads, deliveries, pauses, settings."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the tables."""
    counter = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "notifier_position",
        sa.Column("topic", sa.String, primary_key=True),
        sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("next_offset", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "notifier_incident",
        sa.Column("incident_id", sa.String, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("state", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "notifier_message",
        sa.Column("seq", counter, primary_key=True, autoincrement=True),
        sa.Column("message_id", sa.String, nullable=False, unique=True),
        sa.Column("event_id", sa.String, nullable=False),
        sa.Column("incident_id", sa.String, nullable=False),
        sa.Column("stage", sa.String, nullable=False),
        sa.Column("recipient", sa.String, nullable=False),
        sa.Column("audience", sa.String, nullable=False),
        sa.Column("channel", sa.String, nullable=False),
        sa.Column("rule", sa.String, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("asked_ms", sa.BigInteger, nullable=False),
        sa.Column("recorded_ms", sa.BigInteger, nullable=False),
        sa.Column("detection_delay_ms", sa.BigInteger),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_attempt_ms", sa.BigInteger, nullable=False),
        sa.Column("detail", sa.String, nullable=False),
    )
    op.create_index(
        "notifier_message_due", "notifier_message", ["channel", "state", "next_attempt_ms", "seq"]
    )
    op.create_index(
        "notifier_message_lane", "notifier_message", ["incident_id", "recipient", "seq"]
    )
    op.create_table(
        "notifier_thread",
        sa.Column("incident_id", sa.String, primary_key=True),
        sa.Column("recipient", sa.String, primary_key=True),
        sa.Column("channel", sa.String, primary_key=True),
        sa.Column("token", sa.String, nullable=False),
    )
    op.create_table(
        "notifier_delivery",
        sa.Column("seq", counter, primary_key=True, autoincrement=True),
        sa.Column("incident_id", sa.String, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "notifier_pause",
        sa.Column("channel", sa.String, primary_key=True),
        sa.Column("until_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "notifier_setting",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("value", sa.String, nullable=False),
    )


def downgrade() -> None:
    """Drops the tables."""
    for name in ("setting", "pause", "delivery", "thread", "message", "incident", "position"):
        op.drop_table(f"notifier_{name}")
