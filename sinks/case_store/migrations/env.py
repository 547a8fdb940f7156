"""Alembic's entry: runs the migrations inside the transaction of the connection handed in."""

from alembic import context

from sinks.case_store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=True,
    version_table="case_store_version",
)
with context.begin_transaction():
    context.run_migrations()
