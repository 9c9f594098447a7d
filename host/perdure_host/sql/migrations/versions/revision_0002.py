"""Functions say whether each of their executions belongs to one tenant."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column; functions that are known already have no tenants."""
    column = sa.Column("tenant_isolation", sa.Boolean, nullable=False, server_default=sa.false())
    op.add_column("functions", column)
