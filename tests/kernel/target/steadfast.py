"""The program that notices whatever was changed about it (steadfast.c), as a test sees it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from holdfast.system.processes.ptrace import status_fields
from tests.waiting import wait_until

KEPT = ("SigBlk", "SigIgn", "SigCgt", "Seccomp", "Threads", "CapEff", "State", "TracerPid")


def compile_steadfast(folder: Path) -> Path:
    """The program, compiled into that folder; everybody may execute it."""
    program = folder / "steadfast"
    source = Path(__file__).with_name("steadfast.c")
    subprocess.run(["gcc", "-O2", "-pthread", "-o", program, source], check=True)
    program.chmod(0o755)
    return program


class Steadfast:
    """A running instance. Use it as a context manager."""

    def __init__(self, command: Sequence[str], folder: Path, **options: Any) -> None:
        self._output = folder / "beats"
        self._errors = folder / "errors"
        self._command = command
        self._options = options

    def __enter__(self) -> Self:
        with self._output.open("wb") as output, self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                self._command, stdout=output, stderr=errors, **self._options
            )
        self.pid = self.process.pid
        self.goes_on()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.wait()

    def beats(self) -> list[int]:
        """What each thread has done so far, then the signals."""
        return [int(word) for word in self._output.read_text().split("\n")[0].split()]

    def is_well(self) -> None:
        """Fail the test when it has noticed something."""
        path = Path(f"/proc/{self.pid}/stat")
        ended = not path.exists() or path.read_text().rpartition(")")[2].split()[0] in "ZX"
        assert not ended, self._errors.read_text() or "it ended without a word"

    def goes_on(self) -> None:
        """Until every thread has done something more."""
        before: list[int] = []

        def all_moved() -> bool:
            nonlocal before
            self.is_well()
            now = self.beats()
            if len(now) != 5:
                return False
            before = before or now
            return all(new > old for new, old in zip(now, before, strict=True))

        wait_until(all_moved, "a thread does not go on")

    def stands_still(self) -> bool:
        """Whether nothing moves within a few times the shortest pause of its threads."""
        before = self.beats()
        time.sleep(0.03)
        return self.beats() == before

    def condition(self) -> dict[str, object]:
        """All that must be the same before and after."""
        threads = sorted(int(path.name) for path in Path(f"/proc/{self.pid}/task").iterdir())
        status = {
            thread_id: {
                name: value
                for name, value in status_fields(thread_id, KEPT).items()
                if name != "State" or value[0] in "Tt"
            }
            for thread_id in threads
        }
        maps = Path(f"/proc/{self.pid}/maps").read_text().splitlines()
        descriptors = sorted(path.name for path in Path(f"/proc/{self.pid}/fd").iterdir())
        return {"threads": status, "maps": maps, "descriptors": descriptors}
