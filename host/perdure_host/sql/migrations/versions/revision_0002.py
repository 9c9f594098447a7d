"""Tenant isolation of functions: whether each execution belongs to one tenant."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column; existing functions have no tenants."""
    column = sa.Column("tenant_isolation", sa.Boolean, nullable=False, server_default=sa.false())
    op.add_column("functions", column)
