"""Alembic's entry; the connection comes from the store that is being opened."""

from alembic import context

from sinks.notifier.tables import metadata

VERSION_TABLE = "notifier_schema_version"

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,  # SQLite alters tables by copying them
)
context.run_migrations()
