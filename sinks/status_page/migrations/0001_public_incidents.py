"""Public incidents, positions and components."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the first tables."""
    op.create_table(
        "status_page_incidents",
        sa.Column("id", sa.String(200), primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("public", sa.Boolean, nullable=False),
        sa.Column("opened_ms", sa.BigInteger, nullable=False),
        sa.Column("resolved_ms", sa.BigInteger),
        sa.Column("document", sa.Text, nullable=False),
    )
    op.create_index(
        "status_page_incidents_by_end", "status_page_incidents", ["public", "resolved_ms"]
    )
    op.create_table(
        "status_page_positions",
        sa.Column("topic", sa.String(249), primary_key=True),
        sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("next_offset", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "status_page_components",
        sa.Column("id", sa.String(12), primary_key=True),
        sa.Column("since_ms", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    """Removes them."""
    op.drop_table("status_page_components")
    op.drop_table("status_page_positions")
    op.drop_index("status_page_incidents_by_end", "status_page_incidents")
    op.drop_table("status_page_incidents")
