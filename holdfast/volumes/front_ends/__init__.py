"""Front ends: how the kernel shows a running gate as a block device. One folder for each kind.

The inner half, which reads the kernel's requests and answers them, is `gate/front/`. Nobody else
asks which kind a gate has: to add one (kernel NBD, ublk) is a folder here and a line in
`FRONT_ENDS`.
"""

from __future__ import annotations

from holdfast.volumes.front_ends.fuse_loop.front_end import FuseLoop
from holdfast.volumes.front_ends.protocol import FrontEnd

FRONT_ENDS: dict[str, FrontEnd] = {"fuse-loop": FuseLoop()}
"""Every kind, by its name."""

_IN_USE = "fuse-loop"


def front_end() -> FrontEnd:
    """The kind that the gates of this host have."""
    return FRONT_ENDS[_IN_USE]
