"""Alembic's migrations of the case store; run at start, on a connection that is handed in."""
