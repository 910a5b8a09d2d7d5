"""Every front end of the gate has a block device; the one that gates use is what we attach."""

from __future__ import annotations

from holdfast.gate.front import FRONT_END, FRONT_ENDS
from holdfast.volumes.gate_device import GATE_DEVICES, gate_device


def test_every_front_end_has_its_block_device() -> None:
    assert GATE_DEVICES.keys() == FRONT_ENDS.keys()
    in_use = next(name for name, kind in FRONT_ENDS.items() if kind is FRONT_END)
    assert GATE_DEVICES[in_use] is gate_device()
