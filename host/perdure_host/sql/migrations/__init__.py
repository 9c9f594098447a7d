"""Alembic migrations of the schema. `perdure_host.sql.migration` runs them."""
