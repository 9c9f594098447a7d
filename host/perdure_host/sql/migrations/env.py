"""Alembic environment: migrations run on the given connection, in its transaction."""

from alembic import context

from perdure_host.sql.migration import VERSION_TABLE
from perdure_host.sql.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
)
with context.begin_transaction():
    context.run_migrations()
