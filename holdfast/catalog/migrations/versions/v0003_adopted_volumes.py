"""Adopted volumes: mounts that Holdfast did not make."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column. The comment is frozen with the revision."""
    op.add_column(
        "volumes",
        sa.Column(
            "adoption",
            sa.JSON,
            nullable=True,
            comment="Source and mounts of an adopted volume; null of a gated one",
        ),
    )
