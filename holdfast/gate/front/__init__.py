"""The plug to the kernel: where requests come from and answers go to.

`front_end` is the interface, with one file for each kind of it; `serving` has the threads that
carry requests out on the mirror. Everything below does not know which kind it is.
"""

from __future__ import annotations

from holdfast.gate.front.front_end import FrontEnd
from holdfast.gate.front.fuse_file import FuseFile

__all__ = ["FRONT_END", "FRONT_ENDS", "FrontEnd"]

FRONT_ENDS: dict[str, type[FrontEnd]] = {"fuse": FuseFile}

FRONT_END = FRONT_ENDS["fuse"]
"""The one that gates use."""
