"""The tables of the catalog, with a comment on every column.

Owns the shape of the database as the code sees it; `migrations/` makes it so on disk, and a test
compares the two. Must never hold behaviour.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Float, Index, Integer, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """All tables of the catalog."""


class VolumeRow(Base):
    """One volume of this host, attached or not."""

    __tablename__ = "volumes"
    __table_args__ = ({"comment": "Volumes of this host, attached or not"},)

    name: Mapped[str] = mapped_column(
        Text, primary_key=True, comment="Name that people use; part of paths"
    )
    id: Mapped[str] = mapped_column(
        Text, unique=True, comment="Identity in every leg's superblock; never used again"
    )
    kind: Mapped[str] = mapped_column(Text, comment="gated, or adopted")
    size_bytes: Mapped[int] = mapped_column(BigInteger, comment="Size of the block device in bytes")
    mount_path: Mapped[str] = mapped_column(Text, comment="Where it is mounted when attached")
    filesystem: Mapped[str] = mapped_column(Text, comment="ext4, xfs or btrfs")
    mount_options: Mapped[str] = mapped_column(
        Text, comment="Options for mount -o, as the user gave them"
    )
    label: Mapped[str] = mapped_column(Text, comment="File-system label, may be empty")
    uuid: Mapped[str] = mapped_column(Text, comment="File-system UUID, to be kept for ever")
    owner_uid: Mapped[int] = mapped_column(Integer, comment="Owner of the mount's root directory")
    owner_gid: Mapped[int] = mapped_column(Integer, comment="Group of the mount's root directory")
    mode: Mapped[int] = mapped_column(Integer, comment="Permission bits of the root directory")
    fstab: Mapped[str] = mapped_column(Text, comment="fstab line of the mount path, or empty")
    leg_urls: Mapped[list[str]] = mapped_column(
        JSON, comment="Legs' URLs as last seen; the superblocks decide"
    )
    spare_urls: Mapped[list[str]] = mapped_column(
        JSON, comment="Containers that wait to replace a failed leg"
    )
    journal: Mapped[str] = mapped_column(Text, comment="Journal mode: none or unflushed")
    hold_timeout_seconds: Mapped[float] = mapped_column(
        Float, comment="Longest hold before EIO is returned; 0 = at once"
    )
    hang_timeout_seconds: Mapped[float] = mapped_column(
        Float, comment="Age at which a request counts as hung and its leg as failed"
    )
    attached: Mapped[bool] = mapped_column(
        comment="Whether it should be attached, whatever a crash or reboot made of it"
    )


class ReceiptRow(Base):
    """One finished failover, hold, takeover, replacement or restoration; never changed."""

    __tablename__ = "receipts"
    __table_args__ = (
        Index("receipts_by_volume", "volume", "started"),
        Index("receipts_by_time", "started"),
        {"comment": "What happened, when, and how long anyone waited"},
    )

    id: Mapped[str] = mapped_column(Text, primary_key=True, comment="Given by whoever acted")
    volume: Mapped[str] = mapped_column(
        Text, comment="Name of the volume; the receipt outlives the volume"
    )
    strategy: Mapped[str] = mapped_column(Text, comment="failover, hold, takeover, ...")
    cause: Mapped[str] = mapped_column(Text, comment="Why it was done, for people")
    started: Mapped[float] = mapped_column(Float, comment="Unix time in seconds, UTC")
    finished: Mapped[float] = mapped_column(Float, comment="Unix time in seconds, UTC")
    outcome: Mapped[str] = mapped_column(Text, comment="How it ended")
    steps: Mapped[list[dict[str, Any]]] = mapped_column(
        JSON, comment="[{name, started, seconds, outcome}] in order"
    )
    processes: Mapped[list[dict[str, Any]]] = mapped_column(
        JSON, comment="Processes that were frozen or waited: [{pid, name, frozen_ms, handles}]"
    )
    requests_held: Mapped[int] = mapped_column(Integer, comment="Requests withheld meanwhile")
    errors_returned: Mapped[int] = mapped_column(
        Integer, comment="Requests answered with an error to the file system"
    )
    longest_wait_ms: Mapped[float] = mapped_column(
        Float, comment="Longest wait of any request in milliseconds"
    )
    bytes_replayed: Mapped[int] = mapped_column(
        BigInteger, comment="Bytes applied again from the journal"
    )
    verification: Mapped[str] = mapped_column(Text, comment="How the result was checked")
    details: Mapped[dict[str, Any]] = mapped_column(
        JSON, comment="Whatever else the strategy records"
    )
