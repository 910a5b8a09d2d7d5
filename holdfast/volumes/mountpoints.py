"""The mount points of a volume: captured, dismounted for real, mounted again exactly.

    capture(path) -> points in the order to dismount them       obstacles(points) -> findings
    mounts_of(volume) -> points, or NotAttached
    health(point) -> Health                                     nested_mounts(points)
    dismount(points, covers=None) -> points                     abort(points) -> findings
    dismount_dead(points, covers=None) -> findings              uncover(device)
    remount(points, source, filesystem, options=None, note=None, manner=Manner())
        -> {old mount id: root descriptor}

Everything that may block runs in expendable children with deadlines.
"""

from holdfast.volumes.capture import capture, capture_device, nested_mounts, obstacles
from holdfast.volumes.dead import abort, dismount_dead, is_fuse
from holdfast.volumes.dismount import dismount, sync, users_in_words
from holdfast.volumes.health import Condition, Health, health
from holdfast.volumes.mounted import mounts_of
from holdfast.volumes.placing import Manner
from holdfast.volumes.remount import remount, uncover

__all__ = [
    "Condition",
    "Health",
    "Manner",
    "abort",
    "capture",
    "capture_device",
    "dismount",
    "dismount_dead",
    "health",
    "is_fuse",
    "mounts_of",
    "nested_mounts",
    "obstacles",
    "remount",
    "sync",
    "uncover",
    "users_in_words",
]
