"""Runs the migrations on the connection that the store hands over."""

from alembic import context

from sinks.status_page.store import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table="status_page_alembic_version",
    # SQLite alters a table by copying it.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
