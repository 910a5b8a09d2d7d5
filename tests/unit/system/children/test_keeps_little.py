"""A child that closes what it does not need: no object of before the fork closes anything later."""

from __future__ import annotations

import gc
import os
from pathlib import Path

from holdfast.system.processes.process import close_all_except
from tests.forked import in_fork


def test_what_is_opened_stays_open(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("x")

    def be_a_child() -> None:
        gc.disable()
        kept = [open(path)]  # noqa: SIM115 - one that is never closed is what this is about
        number = kept[0].fileno()
        kept.append(kept)  # type: ignore[arg-type] - a circle: only a collection finds it
        del kept
        close_all_except(set())
        opened = os.open(path, os.O_RDONLY)
        while opened < number:
            opened = os.open(path, os.O_RDONLY)
        assert opened == number
        gc.collect()
        assert os.read(opened, 1) == b"x"

    ended = in_fork(be_a_child)
    assert ended.code == 0, ended
