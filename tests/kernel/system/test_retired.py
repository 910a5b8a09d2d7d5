"""A long command that works out of sight keeps nobody's device busy."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from holdfast.system.children.expendable import begun_in_expendable_child
from holdfast.system.mounts.visitor import Visitor


def test_what_is_dismounted_outside_goes_inside(ram_directory: Path) -> None:
    stage, other = ram_directory / "stage", ram_directory / "stage/other"
    stage.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", stage], check=True)
    subprocess.run(["mount", "--make-shared", stage], check=True)
    other.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", other], check=True)
    ready, go = os.pipe(), os.pipe()

    def work() -> list[str]:
        visitor = Visitor()
        visitor.retire(hears_of_others=True)
        before = [each.path for each in visitor.mounts()]
        os.write(ready[1], b"x")
        os.read(go[0], 1)
        after = [each.path for each in visitor.mounts()]
        return [path for path in before if path not in after]

    try:
        with begun_in_expendable_child(work) as gone:
            os.read(ready[0], 1)
            subprocess.run(["umount", other], check=True)
            os.write(go[1], b"x")
            assert gone() == [str(other)]
    finally:
        subprocess.run(["umount", "--recursive", stage], check=True)
        for descriptor in (*ready, *go):
            os.close(descriptor)
