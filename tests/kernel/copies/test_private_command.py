"""An administrator's check runs where nobody else leads it, and what it was judged to be."""

from __future__ import annotations

import os
import subprocess
from functools import partial
from pathlib import Path

from holdfast.mountpoints.private_command import CommandEnd, PrivatePlace, run_on
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.files.programs import ENVIRONMENT
from tests.kernel.restoration.bench import make_image

STRANGER = 4242
SAY = '#!/bin/sh\necho "$HOLDFAST_DRILL_PATH"\ncat "$HOLDFAST_DRILL_PATH/inside"\n'


def test_strangers_neither_lead_it_elsewhere_nor_exchange_it(disk_directory: Path) -> None:
    image, inner = make_image(disk_directory / "1.img"), disk_directory / "inner"
    inner.write_text("#!/bin/sh\necho ours\n")
    script = f"write {inner} check\nset_inode_field check mode 0100755\n"
    script += f"set_inode_field check uid {STRANGER}\nwrite {inner} inside\n"
    debugfs = ["debugfs", "-w", "-f", "-", image]
    subprocess.run(debugfs, input=script.encode(), check=True, capture_output=True)
    ours, theirs = disk_directory / "ours", disk_directory / "theirs/data"
    ours.mkdir()
    theirs.mkdir(parents=True)
    os.chown(theirs.parent, STRANGER, STRANGER)
    for name in (disk_directory / "say", ours / "check"):
        name.write_text(SAY)
        name.chmod(0o755)

    def run(wanted: Path, command: Path) -> CommandEnd:
        place = PrivatePlace(str(image), "ext4", "loop,nosuid,nodev", str(wanted))
        work = partial(run_on, place, [str(command)], ENVIRONMENT, 30.0)
        return in_expendable_child(work, 60.0, "a check")

    found = run(ours, disk_directory / "say")
    assert (found.status, found.said.splitlines()[0]) == (0, str(ours))
    found = run(theirs, disk_directory / "say")
    assert found.status == 0 and not found.said.startswith(str(disk_directory)), "nobody's to lead"
    assert found.said.endswith("echo ours")
    found = run(ours, ours / "check")
    assert found.status == 126 and f"user {STRANGER}" in found.said, "what covers it is not run"
