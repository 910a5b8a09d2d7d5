"""Volumes and receipts: the first shape of the catalog."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _text(name: str, comment: str, primary_key: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, comment=comment, primary_key=primary_key)


def upgrade() -> None:
    """Create both tables. The comments are frozen with the revision, like everything here."""
    op.create_table(
        "volumes",
        _text("name", "Name that people use; part of paths", primary_key=True),
        _text("id", "Identity in every leg's superblock; never used again"),
        _text("kind", "gated, or adopted"),
        sa.Column(
            "size_bytes",
            sa.BigInteger,
            nullable=False,
            comment="Size of the block device in bytes",
        ),
        _text("mount_path", "Where it is mounted when attached"),
        _text("filesystem", "ext4, xfs or btrfs"),
        _text("mount_options", "Options for mount -o, as the user gave them"),
        _text("label", "File-system label, may be empty"),
        _text("uuid", "File-system UUID, to be kept for ever"),
        sa.Column(
            "owner_uid", sa.Integer, nullable=False, comment="Owner of the mount's root directory"
        ),
        sa.Column(
            "owner_gid", sa.Integer, nullable=False, comment="Group of the mount's root directory"
        ),
        sa.Column(
            "mode", sa.Integer, nullable=False, comment="Permission bits of the root directory"
        ),
        _text("fstab", "fstab line of the mount path, or empty"),
        sa.Column(
            "leg_urls",
            sa.JSON,
            nullable=False,
            comment="Legs' URLs as last seen; the superblocks decide",
        ),
        sa.Column(
            "spare_urls",
            sa.JSON,
            nullable=False,
            comment="Containers that wait to replace a failed leg",
        ),
        _text("journal", "Journal mode: none or unflushed"),
        sa.Column(
            "hold_timeout_seconds",
            sa.Float,
            nullable=False,
            comment="Longest hold before EIO is returned; 0 = at once",
        ),
        sa.Column(
            "hang_timeout_seconds",
            sa.Float,
            nullable=False,
            comment="Age at which a request counts as hung and its leg as failed",
        ),
        sa.Column(
            "attached",
            sa.Boolean,
            nullable=False,
            comment="Whether it should be attached, whatever a crash or reboot made of it",
        ),
        sa.UniqueConstraint("id"),
        comment="Volumes of this host, attached or not",
    )
    op.create_table(
        "receipts",
        _text("id", "Given by whoever acted", primary_key=True),
        _text("volume", "Name of the volume; the receipt outlives the volume"),
        _text("strategy", "failover, hold, takeover, ..."),
        _text("cause", "Why it was done, for people"),
        sa.Column("started", sa.Float, nullable=False, comment="Unix time in seconds, UTC"),
        sa.Column("finished", sa.Float, nullable=False, comment="Unix time in seconds, UTC"),
        _text("outcome", "How it ended"),
        sa.Column(
            "steps", sa.JSON, nullable=False, comment="[{name, started, seconds, outcome}] in order"
        ),
        sa.Column(
            "processes",
            sa.JSON,
            nullable=False,
            comment="Processes that were frozen or waited: [{pid, name, frozen_ms, handles}]",
        ),
        sa.Column(
            "requests_held", sa.Integer, nullable=False, comment="Requests withheld meanwhile"
        ),
        sa.Column(
            "errors_returned",
            sa.Integer,
            nullable=False,
            comment="Requests answered with an error to the file system",
        ),
        sa.Column(
            "longest_wait_ms",
            sa.Float,
            nullable=False,
            comment="Longest wait of any request in milliseconds",
        ),
        sa.Column(
            "bytes_replayed",
            sa.BigInteger,
            nullable=False,
            comment="Bytes applied again from the journal",
        ),
        _text("verification", "How the result was checked"),
        sa.Column("details", sa.JSON, nullable=False, comment="Whatever else the strategy records"),
        comment="What happened, when, and how long anyone waited",
    )
    op.create_index("receipts_by_volume", "receipts", ["volume", "started"])
    op.create_index("receipts_by_time", "receipts", ["started"])
