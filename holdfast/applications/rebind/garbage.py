"""Garbage waits while users stand still: to look for it takes longer than to keep it.

Invariant: what was before is so again afterwards.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collection() -> Iterator[None]:
    """Collect no garbage meanwhile. Can be nested.

    The priority of the agent stays as it is, on purpose: above that of the users, who make its
    calls, it takes their processor from them while it waits for them.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
