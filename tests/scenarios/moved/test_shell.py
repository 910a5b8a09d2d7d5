"""An interactive shell with its working directory on a volume that is moved below it."""

from __future__ import annotations

import os
import re
import select
import time
from pathlib import Path

from tests.scenarios.moved.moving import move_in_turn, started, stopped_copy

_ANSWER_SECONDS = 20.0
_DONE = re.compile(r"<(\d+)>")


class Terminal:
    """The other end of a shell's terminal."""

    def __init__(self, controller: int) -> None:
        self._controller = controller
        self._asked = 0

    def ask(self, command: str) -> str:
        """What a command prints; fails the test when its exit status is not 0."""
        self._asked += 1
        mark = f"{self._asked}-"
        os.write(self._controller, f'{command}; echo "<"{mark}$?">"\n'.encode())
        text = ""
        deadline = time.monotonic() + _ANSWER_SECONDS
        while not (found := re.search(rf"<{mark}(\d+)>", text)):
            remaining = deadline - time.monotonic()
            assert select.select([self._controller], [], [], max(remaining, 0))[0], text
            text += os.read(self._controller, 4096).decode()
        assert found[1] == "0", text
        return text[: found.start()].replace("\r", "").strip()


def test_shell_goes_on_in_its_directory(ram_directory: Path) -> None:
    with stopped_copy(ram_directory) as mover:
        folder = mover.path / "work"
        folder.mkdir()
        controller, terminal = os.openpty()
        command = ["setsid", "--ctty", "bash", "--norc", "--noprofile", "--noediting"]
        with started(
            [*command, "-i"],
            cwd=folder,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=False,  # setsid(1) makes it
            env={**os.environ, "PS1": "", "PS2": ""},
        ):
            os.close(terminal)
            shell = Terminal(controller)
            shell.ask("stty -echo; set +m")
            shell.ask("mkdir deep; cd deep; exec 7>>numbers 8<../deep")
            shell.ask("(while echo tick; do sleep 0.01; done) >> ticks 2>> problems & true")
            count = 0

            def working() -> None:
                nonlocal count
                count += 1
                assert shell.ask("pwd -P") == str(folder / "deep")
                assert shell.ask("/bin/pwd") == str(folder / "deep")
                shell.ask(f"echo {count} >&7")
                assert shell.ask("cat numbers").split() == [str(n) for n in range(1, count + 1)]
                assert "numbers" in shell.ask("ls . .. /proc/self/fd/8/")
                shell.ask("old=$(wc -l < ticks); until [ $(wc -l < ticks) -gt $old ]; do :; done")

            moves = move_in_turn(mover, working)
            assert all("bash" in moved.processes for moved in moves), moves
            shell.ask("kill %1; wait %1; true")
            assert shell.ask("cat problems") == ""
            shell.ask("cd ..; rm -r deep; cd /")
            os.write(controller, b"exit\n")
        os.close(controller)
