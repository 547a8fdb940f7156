"""When a message that is scheduled will be sent."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Adds the column."""
    op.add_column("delivery", sa.Column("due_ms", sa.BigInteger))
