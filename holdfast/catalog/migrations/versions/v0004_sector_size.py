"""The sector size of gated volumes: kept when their storage is replaced."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column: 4096 in everything that was made before. The comment is frozen."""
    op.add_column(
        "volumes",
        sa.Column(
            "sector_bytes",
            sa.Integer,
            nullable=False,
            server_default="4096",
            comment="Logical sector of a gated volume's block device",
        ),
    )
