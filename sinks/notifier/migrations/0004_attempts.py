"""How often a message was taken to be sent, and how many further ways it has."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the columns. What waits already is taken to have no further way before three attempts,
    as it was; what was tried may have arrived."""
    for name in ("tries", "further_ways"):
        column = sa.Column(name, sa.Integer, nullable=False, server_default="0")
        op.add_column("notifier_message", column)
    op.execute(
        "UPDATE notifier_message SET tries = 1 "
        "WHERE state = 'sending' OR (state = 'waiting' AND attempts > 0)"
    )
