"""Work of several threads while a volume is moved: `SideBySide`."""

from __future__ import annotations

import threading
from collections.abc import Callable

from tests.waiting import wait_until


class SideBySide:
    """`work` in so many threads, until it is time; the first problem ends them all."""

    def __init__(self, number: int) -> None:
        self.problems: list[BaseException] = []
        self.counts = [0] * number

    def work(self, number: int, done: Callable[[], bool]) -> None:
        """Of one thread: until `done`, adding to its count whenever a piece of work was right."""
        raise NotImplementedError

    def load(self, done: Callable[[], bool]) -> None:
        """All of them until it is time. Raises what the first one found wrong."""

        def tell(number: int) -> None:
            try:
                self.work(number, lambda: done() or bool(self.problems))
            except BaseException as problem:
                self.problems.append(problem)

        threads = [
            threading.Thread(target=tell, args=(number,)) for number in range(len(self.counts))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.problems:
            raise self.problems[0]

    def get_on(self, count: int) -> None:
        """Return when so many pieces more are done, or one was wrong, which `load` tells."""
        before = sum(self.counts)
        wait_until(lambda: sum(self.counts) >= before + count or bool(self.problems))
