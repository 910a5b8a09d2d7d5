"""How a running gate becomes a block device of this host: what its front end shows, and the rest.

The inner half, in the gate's processes, is `gate/front/`, with a front end for each kind; here is
what everybody else needs of that kind. Nobody else asks which kind it is: to add one (kernel NBD,
ublk, which are block devices themselves) is a folder here and a line in `GATE_DEVICES`.
"""

from __future__ import annotations

from holdfast.volumes.gate_device.loop_on_fuse.device import LoopOnFuse
from holdfast.volumes.gate_device.protocol import GateDevice

GATE_DEVICES: dict[str, GateDevice] = {"fuse": LoopOnFuse()}
"""Every kind, by the name of its front end."""

_IN_USE = "fuse"


def gate_device() -> GateDevice:
    """The kind that gates of this host have."""
    return GATE_DEVICES[_IN_USE]
