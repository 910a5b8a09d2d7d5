"""The stack below a gated volume's mount: its gate and its block device.

`bring_up` and `take_down` it; `examine` what the kernel shows of it. The device is `gate_device`'s.
"""
