"""What makes a file the catalog: every change of its shape since the first, in order.

SQLite keeps these words with the file, comments included (`sqlite3 catalog.sqlite .schema`). A
change that was released is never edited: another one follows it. Must never hold behaviour.
"""

from __future__ import annotations

_VOLUMES_AND_RECEIPTS = (
    """
create table volumes ( -- Volumes of this host, attached or not
    name text not null, -- Name that people use; part of paths
    id text not null, -- Identity in every leg's superblock; never used again
    kind text not null, -- gated, or adopted
    size_bytes bigint not null, -- Size of the block device in bytes
    mount_path text not null, -- Where it is mounted when attached
    filesystem text not null, -- ext4, xfs or btrfs
    mount_options text not null, -- Options for mount -o, as the user gave them
    label text not null, -- File-system label, may be empty
    uuid text not null, -- File-system UUID, to be kept for ever
    owner_uid integer not null, -- Owner of the mount's root directory
    owner_gid integer not null, -- Group of the mount's root directory
    mode integer not null, -- Permission bits of the root directory
    fstab text not null, -- fstab line of the mount path, or empty
    leg_urls json not null, -- Legs' URLs as last seen; the superblocks decide
    spare_urls json not null, -- Containers that wait to replace a failed leg
    journal text not null, -- Journal mode: none or unflushed
    hold_timeout_seconds float not null, -- Longest hold before EIO is returned; 0 = at once
    hang_timeout_seconds float not null, -- Age at which a request counts as hung, its leg as failed
    attached boolean not null, -- Whether it should be, whatever a crash or reboot made of it
    primary key (name),
    unique (id)
)
""",
    """
create table receipts ( -- What happened, when, and how long anyone waited
    id text not null, -- Given by whoever acted
    volume text not null, -- Name of the volume; the receipt outlives the volume
    strategy text not null, -- failover, hold, takeover, ...
    cause text not null, -- Why it was done, for people
    started float not null, -- Unix time in seconds, UTC
    finished float not null, -- Unix time in seconds, UTC
    outcome text not null, -- How it ended
    steps json not null, -- [{name, started, seconds, outcome}] in order
    processes json not null, -- Who was frozen or waited: [{pid, name, frozen_ms, handles}]
    requests_held integer not null, -- Requests withheld meanwhile
    errors_returned integer not null, -- Requests answered with an error to the file system
    longest_wait_ms float not null, -- Longest wait of any request in milliseconds
    bytes_replayed bigint not null, -- Bytes applied again from the journal
    verification text not null, -- How the result was checked
    details json not null, -- Whatever else the strategy records
    primary key (id)
)
""",
    "create index receipts_by_volume on receipts (volume, started)",
    "create index receipts_by_time on receipts (started)",
)

_RESTORATIONS_AND_COPIES = (
    """
create table restorations ( -- Restorations that are to be finished or undone
    id text not null, -- Also the receipt's id
    volume text not null, -- Name of the volume: one restoration at a time
    strategy text not null, -- migrate, rewind, remount, detach, ...
    cause text not null, -- Why it was begun, for people
    started float not null, -- Unix time in seconds, UTC
    stage text not null, -- preparing, running, waiting or undoing
    boot_id text not null, -- Boot of the host in which it began: nobody stays parked beyond it
    deadline_ns bigint not null, -- CLOCK_MONOTONIC at which all run again; 0 = none waits
    step_names json not null, -- The steps of its plan, in order
    facts json not null, -- What its steps need to know and have found out
    primary key (id),
    unique (volume)
)
""",
    """
create table restoration_steps ( -- How far each restoration has come
    restoration text not null, -- Id of the restoration
    name text not null, -- freeze, capture, ...
    number integer not null, -- Place in the order of the steps
    state text not null, -- started, finished, undone or failed
    started float not null, -- Unix time in seconds, UTC
    seconds float not null, -- How long it took
    outcome text not null, -- What came of it, for people
    primary key (restoration, name)
)
""",
    """
create table copies ( -- Copies of volumes, so that nobody has to search for them
    id text not null, -- Given when it was made
    volume text not null, -- Name of the volume whose contents it holds
    urls json not null, -- Its container, or the equal legs of a mirror
    filesystem text not null, -- Type of the file system in it
    uuid text not null, -- UUID of the file system in it
    volume_id text not null, -- Id in its superblocks; empty for a plain file system
    made float not null, -- Unix time in seconds up to which it has everything
    origin text not null, -- How it came about: migrate, restore
    primary key (id)
)
""",
    "create index copies_by_volume on copies (volume, made)",
)

# Source and mounts of an adopted volume; null of a gated one.
_ADOPTION = ("alter table volumes add column adoption json",)

# Logical sector of a gated volume's block device.
_SECTORS = ("alter table volumes add column sector_bytes integer default '4096' not null",)

_POLICIES = (
    """
create table policies ( -- What may happen to a volume unattended; without a row: the defaults
    volume text not null, -- Name of the volume
    policy json not null, -- {on_loss, source, target, causes, …}
    attempt json, -- The last attempt since it was set, null: none
    primary key (volume)
)
""",
)

CHANGES = {
    "0001": _VOLUMES_AND_RECEIPTS,
    "0002": _RESTORATIONS_AND_COPIES,
    "0003": _ADOPTION,
    "0004": _SECTORS,
    "0005": _POLICIES,
}
"""Statements by the number of the shape that they lead to, in order."""
