"""Restorations in progress with their steps, and copies."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def _text(
    name: str, comment: str, primary_key: bool = False, unique: bool = False
) -> sa.Column[str]:
    return sa.Column(
        name, sa.Text, nullable=False, comment=comment, primary_key=primary_key, unique=unique
    )


def _number(name: str, comment: str) -> sa.Column[float]:
    return sa.Column(name, sa.Float, nullable=False, comment=comment)


def upgrade() -> None:
    """Create the three tables. The comments are frozen with the revision."""
    op.create_table(
        "restorations",
        _text("id", "Also the receipt's id", primary_key=True),
        _text("volume", "Name of the volume: one restoration at a time", unique=True),
        _text("strategy", "migrate, rewind, remount, detach, ..."),
        _text("cause", "Why it was begun, for people"),
        _number("started", "Unix time in seconds, UTC"),
        _text("stage", "preparing, running, waiting or undoing"),
        _text("boot_id", "Boot of the host in which it began: nobody stays parked beyond it"),
        sa.Column(
            "deadline_ns",
            sa.BigInteger,
            nullable=False,
            comment="CLOCK_MONOTONIC at which every process runs again; 0 = none waits",
        ),
        sa.Column("step_names", sa.JSON, nullable=False, comment="The steps of its plan, in order"),
        sa.Column(
            "facts",
            sa.JSON,
            nullable=False,
            comment="What its steps need to know and have found out",
        ),
        comment="Restorations that are to be finished or undone",
    )
    op.create_table(
        "restoration_steps",
        _text("restoration", "Id of the restoration", primary_key=True),
        _text("name", "freeze, capture, ...", primary_key=True),
        sa.Column("number", sa.Integer, nullable=False, comment="Place in the order of the steps"),
        _text("state", "started, finished, undone or failed"),
        _number("started", "Unix time in seconds, UTC"),
        _number("seconds", "How long it took"),
        _text("outcome", "What came of it, for people"),
        comment="How far each restoration has come",
    )
    op.create_table(
        "copies",
        _text("id", "Given when it was made", primary_key=True),
        _text("volume", "Name of the volume whose contents it holds"),
        sa.Column(
            "urls",
            sa.JSON,
            nullable=False,
            comment="Its container, or the equal legs of a mirror",
        ),
        _text("filesystem", "Type of the file system in it"),
        _text("uuid", "UUID of the file system in it"),
        _text("volume_id", "Id in its superblocks; empty for a plain file system"),
        _number("made", "Unix time in seconds up to which it has everything"),
        _text("origin", "How it came about: migrate, restore"),
        comment="Copies of volumes, so that nobody has to search for them",
    )
    op.create_index("copies_by_volume", "copies", ["volume", "made"])
