"""The tables of the catalog, with a comment on every column.

Owns the shape of the database as the code sees it; `migrations/` makes it so on disk, and a test
compares the two. Must never hold behaviour.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Float, Index, Integer
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from holdfast.catalog.any_text import AnyText


class Base(DeclarativeBase):
    """All tables of the catalog."""


class VolumeRow(Base):
    """One volume of this host, attached or not."""

    __tablename__ = "volumes"
    __table_args__ = ({"comment": "Volumes of this host, attached or not"},)

    name: Mapped[str] = mapped_column(
        AnyText, primary_key=True, comment="Name that people use; part of paths"
    )
    id: Mapped[str] = mapped_column(
        AnyText, unique=True, comment="Identity in every leg's superblock; never used again"
    )
    kind: Mapped[str] = mapped_column(AnyText, comment="gated, or adopted")
    size_bytes: Mapped[int] = mapped_column(BigInteger, comment="Size of the block device in bytes")
    mount_path: Mapped[str] = mapped_column(AnyText, comment="Where it is mounted when attached")
    filesystem: Mapped[str] = mapped_column(AnyText, comment="ext4, xfs or btrfs")
    mount_options: Mapped[str] = mapped_column(
        AnyText, comment="Options for mount -o, as the user gave them"
    )
    label: Mapped[str] = mapped_column(AnyText, comment="File-system label, may be empty")
    uuid: Mapped[str] = mapped_column(AnyText, comment="File-system UUID, to be kept for ever")
    owner_uid: Mapped[int] = mapped_column(Integer, comment="Owner of the mount's root directory")
    owner_gid: Mapped[int] = mapped_column(Integer, comment="Group of the mount's root directory")
    mode: Mapped[int] = mapped_column(Integer, comment="Permission bits of the root directory")
    fstab: Mapped[str] = mapped_column(AnyText, comment="fstab line of the mount path, or empty")
    leg_urls: Mapped[list[str]] = mapped_column(
        JSON, comment="Legs' URLs as last seen; the superblocks decide"
    )
    spare_urls: Mapped[list[str]] = mapped_column(
        JSON, comment="Containers that wait to replace a failed leg"
    )
    journal: Mapped[str] = mapped_column(AnyText, comment="Journal mode: none or unflushed")
    hold_timeout_seconds: Mapped[float] = mapped_column(
        Float, comment="Longest hold before EIO is returned; 0 = at once"
    )
    hang_timeout_seconds: Mapped[float] = mapped_column(
        Float, comment="Age at which a request counts as hung and its leg as failed"
    )
    attached: Mapped[bool] = mapped_column(
        comment="Whether it should be attached, whatever a crash or reboot made of it"
    )
    adoption: Mapped[dict[str, Any] | None] = mapped_column(
        JSON, comment="Source and mounts of an adopted volume; null of a gated one"
    )
    sector_bytes: Mapped[int] = mapped_column(
        Integer, server_default="4096", comment="Logical sector of a gated volume's block device"
    )


class ReceiptRow(Base):
    """One finished failover, hold, takeover, replacement or restoration; never changed."""

    __tablename__ = "receipts"
    __table_args__ = (
        Index("receipts_by_volume", "volume", "started"),
        Index("receipts_by_time", "started"),
        {"comment": "What happened, when, and how long anyone waited"},
    )

    id: Mapped[str] = mapped_column(AnyText, primary_key=True, comment="Given by whoever acted")
    volume: Mapped[str] = mapped_column(
        AnyText, comment="Name of the volume; the receipt outlives the volume"
    )
    strategy: Mapped[str] = mapped_column(AnyText, comment="failover, hold, takeover, ...")
    cause: Mapped[str] = mapped_column(AnyText, comment="Why it was done, for people")
    started: Mapped[float] = mapped_column(Float, comment="Unix time in seconds, UTC")
    finished: Mapped[float] = mapped_column(Float, comment="Unix time in seconds, UTC")
    outcome: Mapped[str] = mapped_column(AnyText, comment="How it ended")
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
    verification: Mapped[str] = mapped_column(AnyText, comment="How the result was checked")
    details: Mapped[dict[str, Any]] = mapped_column(
        JSON, comment="Whatever else the strategy records"
    )


class RestorationRow(Base):
    """One restoration that has begun and not ended; removed when its receipt is written."""

    __tablename__ = "restorations"
    __table_args__ = ({"comment": "Restorations that are to be finished or undone"},)

    id: Mapped[str] = mapped_column(AnyText, primary_key=True, comment="Also the receipt's id")
    volume: Mapped[str] = mapped_column(
        AnyText, unique=True, comment="Name of the volume: one restoration at a time"
    )
    strategy: Mapped[str] = mapped_column(AnyText, comment="migrate, rewind, remount, detach, ...")
    cause: Mapped[str] = mapped_column(AnyText, comment="Why it was begun, for people")
    started: Mapped[float] = mapped_column(Float, comment="Unix time in seconds, UTC")
    stage: Mapped[str] = mapped_column(AnyText, comment="preparing, running, waiting or undoing")
    boot_id: Mapped[str] = mapped_column(
        AnyText, comment="Boot of the host in which it began: nobody stays parked beyond it"
    )
    deadline_ns: Mapped[int] = mapped_column(
        BigInteger, comment="CLOCK_MONOTONIC at which every process runs again; 0 = none waits"
    )
    step_names: Mapped[list[str]] = mapped_column(JSON, comment="The steps of its plan, in order")
    facts: Mapped[dict[str, Any]] = mapped_column(
        JSON, comment="What its steps need to know and have found out"
    )


class RestorationStepRow(Base):
    """One step of a restoration: started is written before it acts, the rest after."""

    __tablename__ = "restoration_steps"
    __table_args__ = ({"comment": "How far each restoration has come"},)

    restoration: Mapped[str] = mapped_column(
        AnyText, primary_key=True, comment="Id of the restoration"
    )
    name: Mapped[str] = mapped_column(AnyText, primary_key=True, comment="freeze, capture, ...")
    number: Mapped[int] = mapped_column(Integer, comment="Place in the order of the steps")
    state: Mapped[str] = mapped_column(AnyText, comment="started, finished, undone or failed")
    started: Mapped[float] = mapped_column(Float, comment="Unix time in seconds, UTC")
    seconds: Mapped[float] = mapped_column(Float, comment="How long it took")
    outcome: Mapped[str] = mapped_column(AnyText, comment="What came of it, for people")


class CopyRow(Base):
    """Storage that holds older contents of a volume and is no part of it any more."""

    __tablename__ = "copies"
    __table_args__ = (
        Index("copies_by_volume", "volume", "made"),
        {"comment": "Copies of volumes, so that nobody has to search for them"},
    )

    id: Mapped[str] = mapped_column(AnyText, primary_key=True, comment="Given when it was made")
    volume: Mapped[str] = mapped_column(
        AnyText, comment="Name of the volume whose contents it holds"
    )
    urls: Mapped[list[str]] = mapped_column(
        JSON, comment="Its container, or the equal legs of a mirror"
    )
    filesystem: Mapped[str] = mapped_column(AnyText, comment="Type of the file system in it")
    uuid: Mapped[str] = mapped_column(AnyText, comment="UUID of the file system in it")
    volume_id: Mapped[str] = mapped_column(
        AnyText, comment="Id in its superblocks; empty for a plain file system"
    )
    made: Mapped[float] = mapped_column(
        Float, comment="Unix time in seconds up to which it has everything"
    )
    origin: Mapped[str] = mapped_column(AnyText, comment="How it came about: migrate, restore")
