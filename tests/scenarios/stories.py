"""Something that happens beside the main line of a test: `Story`."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Story(threading.Thread):
    """Something that happens while the load runs; `finish` raises what went wrong."""

    def __init__(self, tell: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self.tell = tell
        self.problem: BaseException | None = None

    def run(self) -> None:
        try:
            self.tell()
        except BaseException as error:
            self.problem = error

    def finish(self) -> None:
        """Wait for the end."""
        self.join()
        if self.problem is not None:
            raise self.problem
