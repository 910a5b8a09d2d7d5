"""What one can say of a volume: its catalog entry, and what `volume show` reports."""

from __future__ import annotations

import re
from dataclasses import field
from enum import StrEnum

from holdfast.errors import InvalidName
from holdfast.late_dataclass import dataclass
from holdfast.model.mountpoint import MountPoint
from holdfast.model.plan import Cause

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")


def check_name(name: str) -> str:
    """The name itself, when it can be a volume's. Raises InvalidName."""
    if not _NAME.fullmatch(name):
        raise InvalidName(
            f"{name!r} cannot be a volume's name",
            "Use 1 to 40 letters, digits, dots, dashes, underscores; begin with a letter or digit.",
        )
    return name


class VolumeState(StrEnum):
    """State of a volume as a whole."""

    DETACHED = "detached"
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    HELD = "held"
    FAILED = "failed"


class LegState(StrEnum):
    """State of one leg. `spare` waits to be taken into service."""

    IN_SYNC = "in-sync"
    RESYNCING = "resyncing"
    FAILED = "failed"
    STALE = "stale"
    DETACHED = "detached"
    SPARE = "spare"


class JournalMode(StrEnum):
    """What the journal keeps: nothing, what the legs have acknowledged but not flushed, or, in a
    history, everything."""

    NONE = "none"
    UNFLUSHED = "unflushed"
    CONTINUOUS = "continuous"


class JournalFailurePolicy(StrEnum):
    """What a full or failing journal does: stop the volume, or go on without it with an alarm."""

    DEGRADE = "degrade"
    HOLD = "hold"


DEFAULT_SECTOR_BYTES = 4096
"""Of volumes that Holdfast makes: the page size, and what every disk takes."""

SECTOR_SIZES = (512, 1024, 2048, 4096)
"""What a loop device can have (losetup(8)), up to the page size."""

FILE_SYSTEMS = ("ext4", "xfs", "btrfs")


@dataclass(frozen=True)
class MountProperties:
    """Everything needed to mount a volume again exactly as it was."""

    path: str
    filesystem: str
    options: str = ""
    label: str = ""
    uuid: str = ""
    owner_uid: int = 0
    owner_gid: int = 0
    mode: int = 0o755
    fstab: str = ""
    """The fstab line of the mount path, or empty."""


GATED, ADOPTED = "gated", "adopted"
"""Kinds of volumes: made by Holdfast with a gate below it, or a mount that was there before."""


@dataclass(frozen=True)
class Adoption:
    """What is recorded of a mount that Holdfast did not make, besides its MountProperties."""

    source: str
    """block:/dev/sda1 | file:/path.img (behind a loop device) | what mount(8) takes, e.g. an NFS
    export."""
    super_options: str = ""
    """Options of the file system as it was asked for, without the per-mount ones."""
    needs_network: bool = False
    swap_files: tuple[str, ...] = ()
    """Swap files that lay on it."""
    below_uid: int | None = None
    below_gid: int | None = None
    below_mode: int | None = None
    """Owner and mode of the mount point's directory as it is when nothing is mounted there; None:
    could not be seen."""
    loop_options: str = ""
    """How the image was attached: offset=…, sizelimit=… (bytes), sector-size=…, direct-io, ro,
    autoclear, own (the image was made by Holdfast)."""
    points: tuple[MountPoint, ...] = ()
    """Every mount of it when last looked at, in the order to dismount them."""
    boot_id: str = ""
    """The boot in which that was: namespaces do not outlive it."""
    left_gate: str = ""
    """Id of the volume that it was while it had a gate: legs that it left still say so, and have,
    where nothing was copied, the UUID of its file system. Empty: it had none."""


@dataclass(frozen=True)
class Volume:
    """A catalog entry: what stays when the volume is detached."""

    name: str
    id: str
    kind: str
    size_bytes: int
    mount: MountProperties
    leg_urls: tuple[str, ...] = ()
    spare_urls: tuple[str, ...] = ()
    journal: JournalMode = JournalMode.UNFLUSHED
    hold_timeout_seconds: float = 600.0
    hang_timeout_seconds: float = 5.0
    attached: bool = False
    """Whether the volume should be attached; what a crash or reboot must not change."""
    adoption: Adoption | None = None
    """Only of adopted volumes."""
    sector_bytes: int = DEFAULT_SECTOR_BYTES
    """Smallest unit of the block device that applications see: what they may write with O_DIRECT.
    Kept for the volume's life, whatever it lies on. Of an adopted one its loop_options say it."""

    @property
    def is_adopted(self) -> bool:
        """Whether it is a mount that Holdfast did not make: no gate, no legs."""
        return self.kind == ADOPTED


@dataclass(frozen=True)
class LegReport:
    """One leg in `volume show --json`."""

    number: int
    id: str
    url: str
    state: LegState
    resync_percent: float | None = None
    reason: str = ""
    """Why it is failed or stale, for people."""
    times: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """How many requests took how long (model.leg_times), by kind: short-write, long-write, flush,
    read. Empty: its gate does not count them, or does not run."""


@dataclass(frozen=True)
class GateReport:
    """The gate in `volume show --json`."""

    keeper_pid: int
    worker_pid: int
    held: bool
    hold_reason: str
    hold_deadline: float | None
    """Unix time in seconds at which held requests get EIO or are released; None: not held."""
    in_flight: int
    takeovers: int
    errors_returned: int
    longest_wait_ms: float
    requests: dict[str, int] = field(default_factory=dict)
    """Answered requests by kind: read, write, flush, discard."""
    journal: dict[str, object] = field(default_factory=dict)
    """mode, state (active|degraded|off), bytes, position."""
    resident_bytes: int = 0
    memory_limit_bytes: int | None = None
    """Limit of the control group that the worker's memory counts against; None: there is none."""
    io_flusher: bool = False
    """The kernel was told that the worker serves write-back: it never waits for it there."""
    version: str = ""
    """Of the code that the worker runs; `holdfast --version` is that of the command."""
    compiled: bool = False
    """Whether compiled code serves ordinary requests; else Python serves all."""
    standby_bytes: int = 0
    """Memory of the worker that is prepared to take over; 0: none is."""
    held_on_purpose: bool = False
    """By `volume hold`, and for no other reason: `release` is what ends it."""
    read_bytes: int = 0
    """That were asked for and given since the gate began; 0 of a worker that does not tell it."""
    written_bytes: int = 0
    served_ms: float = 0.0
    """What all answered requests took, from being read to being answered, added up."""


@dataclass(frozen=True)
class MountReport:
    """One mount of an adopted volume in `volume show --json`."""

    path: str
    inside: str
    """The directory of the file system that is mounted there; empty: its root."""
    options: str
    propagation: str
    namespace: int
    """Inode number of the mount namespace."""
    process: str
    """A process that is in it, for people; empty: our own namespace."""


@dataclass(frozen=True)
class VolumeReport:
    """`volume show NAME --json`: see docs/cli.md for the fields."""

    name: str
    kind: str
    state: VolumeState
    mount: str
    filesystem: str
    size_bytes: int
    device: str
    id: str
    options: str
    label: str
    uuid: str
    journal: str
    epoch: int
    legs: tuple[LegReport, ...] = ()
    gate: GateReport | None = None
    source: str = ""
    """Of adopted volumes: where the bytes come from, as recorded."""
    reason: str = ""
    """Why it is failed, or an adopted one degraded or detached, for people; of legs and holds they
    say it themselves."""
    mend: str = ""
    """What ends that: a command, or what to do."""
    wanted: bool = False
    """It was attached, and not detached on purpose."""
    frozen_until: float | None = None
    """Unix time in seconds at which processes that are frozen for it continue at the latest."""
    mounts: tuple[MountReport, ...] = ()
    """Every mount of an adopted volume, in all mount namespaces."""
    lost_by: Cause | None = None
    """Of an adopted one whose storage does not take what is written: why. `storage-lost`: of one
    with a gate that holds requests because no leg is left."""
