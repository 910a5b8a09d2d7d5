"""Who may change a volume: one coordinator, by a registry that is written out.

Three questions are asked of it, see `protocol`: a turn on the volume, the memory of its epoch, a
fence around a container. `local` answers them for one host; others will for several.
"""

from __future__ import annotations

from holdfast.coordination.local import LocalCoordinator
from holdfast.coordination.protocol import Coordinator, Fence

__all__ = ["COORDINATOR", "COORDINATORS", "Coordinator", "Fence"]

COORDINATORS: dict[str, Coordinator] = {"local": LocalCoordinator()}

COORDINATOR = COORDINATORS["local"]
"""The one that this host uses."""
