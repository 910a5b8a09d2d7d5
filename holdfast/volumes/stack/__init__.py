"""The stack below a gated volume's mount: gate, device, and what a crash leaves of them.

`bring_up` and `take_down` it; `examine` what the kernel shows of it; `abandoned` what waits for a
gate of which no process lives.
"""
