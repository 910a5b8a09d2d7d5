"""Who uses a volume, as `holdfast users` tells it."""

from __future__ import annotations

from holdfast.late_dataclass import dataclass
from holdfast.model.handle import Handle, User


@dataclass(frozen=True)
class Transfer:
    """What a process read from and wrote to storage during a while; all storage, not one volume."""

    pid: int
    read_bytes_per_second: float
    written_bytes_per_second: float


@dataclass(frozen=True)
class Usage:
    """The users of one volume at one moment."""

    volume: str
    mount: str
    users: tuple[User, ...] = ()
    kernel: tuple[Handle, ...] = ()
    """Without a process: loop devices, swap files, mounts on top; their pid is 0."""
    transfers: tuple[Transfer, ...] = ()
    """Only when it was watched for a while."""
    watched_seconds: float = 0.0
