"""Which incidents were taken out of one another, or merged."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column; each incident that is known is a family of its own."""
    column = sa.Column("family", sa.String, nullable=False, server_default="")
    op.add_column("notifier_incident", column)
    op.execute("UPDATE notifier_incident SET family = incident_id")
    op.create_index("notifier_incident_family", "notifier_incident", ["family"])
