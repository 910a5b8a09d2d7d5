"""What must not become a leg of a running volume is refused by its code, and nothing is changed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from holdfast.config import Settings
from holdfast.errors import HoldfastError
from holdfast.gate.outside.client import GateClient
from tests.but_times import but_times
from tests.faults import LoopLeg

Run = Callable[..., Any]

STATUS = {"URL": 2, "NOCONTAINER": 4, "NOLEG": 4}
"""Exit status by code; every other refusal has 3 (docs/exit-status.md)."""


@pytest.fixture
def refused(run_holdfast: Run, ram_directory: Path) -> Iterator[dict[str, str]]:
    """A volume `bank` with one leg, and containers that it must not take, by the code for it."""
    folder = ram_directory
    for name in ("bank", "other"):
        command = ["volume", "create", name, "--size", "64M", "--mount", folder / f"mnt-{name}"]
        run_holdfast(*command, f"--leg=file:{folder}/{name}.img")
    run_holdfast("volume", "detach", "other")
    (folder / "data.img").write_bytes(b"precious")
    os.truncate(folder / "data.img", 80 << 20)
    (folder / "small.img").write_bytes(bytes(1 << 20))
    (folder / "folder").mkdir()
    with LoopLeg(folder / "mounted.img", 80 << 20) as disk:
        subprocess.run(["mkfs.ext4", "-q", str(disk.device)], check=True)
        subprocess.run(["mount", "-o", "ro", str(disk.device), str(folder / "folder")], check=True)
        try:
            yield {
                "no scheme": f"URL {folder}/new.img",
                "unknown kind": "URL tape:/dev/null",
                "relative": "URL file:new.img",
                "a device as a file": f"URL file:{disk.device}",
                "no such folder": f"NOCONTAINER file:{folder}/nowhere/new.img",
                "no such device": "NOCONTAINER block:/dev/does-not-exist",
                "data": f"DATA file:{folder}/data.img",
                "another volume's": f"FOREIGN file:{folder}/other.img",
                "its own": f"EXISTS file:{folder}/bank.img",
                "too small": f"SMALL file:{folder}/small.img",
                "mounted": f"BUSY {disk.url}",
                "inside itself": f"SELF file:{folder}/mnt-bank/new.img",
            }
        finally:
            subprocess.run(["umount", str(folder / "folder")], check=True)
            for name in ("bank", "other"):
                run_holdfast("volume", "delete", name, "--yes")


def test_add(run_holdfast: Run, refused: dict[str, str], ram_directory: Path) -> None:
    """By the command: code, mend and exit status."""
    with unchanged(ram_directory):
        for what, expected in refused.items():
            code, url = expected.split()
            result = run_holdfast("leg", "add", "bank", url, check=False)
            assert f"error[{code}]" in result.stderr, (what, result.stderr)
            assert "mend:" in result.stderr, (what, result.stderr)
            assert result.returncode == STATUS.get(code, 3), (what, result.stderr)


@pytest.mark.parametrize("verb", ["spare", "replace"])
def test_spare_and_replace(refused: dict[str, str], ram_directory: Path, verb: str) -> None:
    """By the gate itself, whose rules are the last ones."""
    gate = GateClient(Settings().gate_run_directory("bank"))
    with unchanged(ram_directory):
        for what, expected in refused.items():
            code, url = expected.split()
            if code == "SELF":
                continue  # only the layer above knows the mount table
            with pytest.raises(HoldfastError) as raised:
                if verb == "spare":
                    gate.add_leg(url, spare=True)
                else:
                    gate.replace_leg("1", url)
            assert (raised.value.code, bool(raised.value.mend)) == (code, True), what


@contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    """Legs and epoch are the same afterwards, no container was made or touched."""
    gate = GateClient(Settings().gate_run_directory("bank"))
    before = gate.show()
    images = {path: path.stat().st_mtime_ns for path in folder.glob("*.img")}
    yield
    after = gate.show()
    assert but_times(after["legs"]) == but_times(before["legs"])
    assert after["epoch"] == before["epoch"]
    assert after["spares"] == []
    for path in folder.glob("*.img"):
        assert path in images, f"{path} was made"
        used = path.name == "bank.img"
        assert used or path.stat().st_mtime_ns == images[path], f"{path} was touched"
    assert [path.name for path in (folder / "mnt-bank").iterdir()] == ["lost+found"]


def test_legs_that_do_not_exist(run_holdfast: Run, refused: dict[str, str]) -> None:
    """Refused with 4; the only leg stays."""
    for command in (["remove", "bank", "7"], ["replace", "bank", "nothing", "file:/tmp/x.img"]):
        result = run_holdfast("leg", *command, check=False)
        assert (result.returncode, "error[NOLEG]" in result.stderr) == (4, True), result.stderr
    result = run_holdfast("leg", "remove", "bank", "1", "--yes", check=False)
    assert (result.returncode, "error[LASTLEG]" in result.stderr) == (3, True), result.stderr
