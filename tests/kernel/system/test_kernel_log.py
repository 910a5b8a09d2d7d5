"""The kernel's own messages are read, and what a program writes beside them is not."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from holdfast.system.messages.kernel_log import KernelLog
from tests.kernel.mountpoints.bench import MountBench
from tests.waiting import wait_until

LOG = Path("/dev/kmsg")


@pytest.mark.skipif(not LOG.exists(), reason="there is no /dev/kmsg here")
def test_only_the_kernel_speaks(ram_directory: Path) -> None:
    log = KernelLog()
    log.read()
    name = f"t{uuid.uuid4().hex[:12]}"
    with LOG.open("wb", buffering=0) as file:
        for level in (b"", b"<0>", b"<3>", b"<11>"):
            file.write(level + f"EXT4-fs error (device {name}): it fails".encode())
    with MountBench(ram_directory) as bench:
        device = Path(bench.device("data")).name
        bench.mount(f"/dev/{device}", "mnt")
    said: list[str] = []

    def is_told() -> bool:
        said.extend(each.text for each in log.read())  # a portion: tests beside this one make many
        return any(text.startswith(f"EXT4-fs ({device}): mounted filesystem") for text in said)

    wait_until(is_told)
    assert not any(name in text for text in said)
    log.close()
