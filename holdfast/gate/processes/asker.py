"""Whoever has asked for a gate, and waits until it serves: by a socket between the two.

A gate that nobody waits for any more before it serves ends by itself: its asker was killed, or has
called it off because storage does not answer. Nobody has anything of it. One that serves belongs to
nobody. Must never block.
"""

from __future__ import annotations

import json
import os
import select
from typing import Any


class Asker:
    """Of a gate that starts; None: of a later worker, which nobody waits for."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def has_left(self) -> bool:
        """Whether there was one that does not wait any more."""
        if self._descriptor is None:
            return False
        poller = select.poll()
        poller.register(self._descriptor, select.POLLRDHUP)
        return bool(poller.poll(0))

    def answer(self, answer: dict[str, Any]) -> bool:
        """Tell it, once; False when it has left."""
        if self._descriptor is None:
            return True
        has_left = self.has_left()
        try:
            if not has_left:
                os.write(self._descriptor, json.dumps(answer).encode())
        except OSError:
            has_left = True
        finally:
            self.leave()
        return not has_left

    def leave(self) -> None:
        """Let it know that no answer comes any more: a thread that hangs in a leg would keep this
        open as long as the process. Idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
