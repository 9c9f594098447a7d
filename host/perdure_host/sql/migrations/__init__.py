"""The schema's history, for Alembic. `perdure_host.sql.migration` runs it."""
