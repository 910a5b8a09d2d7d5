"""What must not be adopted is refused with a coded error, and nothing is recorded."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from holdfast.config import Settings
from tests.conftest import RunHoldfast
from tests.kernel.mountpoints.bench import MountBench, run


def refusal(result: subprocess.CompletedProcess[str]) -> tuple[int, str]:
    """Exit status and code."""
    first = result.stderr.splitlines()[0] if result.stderr else ""
    return result.returncode, first.partition("[")[2].partition("]")[0]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/proc", (3, "ADOPT")),
        ("/", (3, "ADOPT")),
        ("/nowhere/at/all", (4, "NOMOUNT")),
        ("relative", (2, "OPTION")),
    ],
)
def test_a_path_that_is_no_volume(
    path: str, expected: tuple[int, str], run_holdfast: RunHoldfast
) -> None:
    assert refusal(run_holdfast("volume", "adopt", "data", path, check=False)) == expected
    assert run_holdfast("volume", "list", json=True) == []


def test_a_directory_that_is_no_mount_point_a_bad_name_and_what_is_taken(
    run_holdfast: RunHoldfast, ram_directory: Path
) -> None:
    with MountBench(ram_directory) as bench:
        path = bench.mount(bench.device("data"), "path")
        copy = bench.mount(path, "copy", "--bind")
        other = bench.mount("memory", "other", "-t", "tmpfs")
        (path / "folder").mkdir()

        def adopt(name: str, place: Path) -> tuple[int, str]:
            return refusal(run_holdfast("volume", "adopt", name, place, check=False))

        assert adopt("data", path / "folder") == (4, "NOMOUNT")
        assert adopt("da/ta", path) == (2, "NAME")
        assert adopt("data", path) == (0, "")
        assert adopt("data", other) == (3, "EXISTS")
        assert adopt("again", path) == (3, "EXISTS")
        assert adopt("again", copy) == (3, "EXISTS")
        assert len(run_holdfast("volume", "list", json=True)) == 1


def test_a_gated_volume_is_managed_already(run_holdfast: RunHoldfast, ram_directory: Path) -> None:
    mount = ram_directory / "mnt"
    leg = f"file:{ram_directory}/leg.img"
    run_holdfast("volume", "create", "shop", "--size", "32M", "--mount", mount, "--leg", leg)
    try:
        result = run_holdfast("volume", "adopt", "again", mount, check=False)
        assert refusal(result) == (3, "EXISTS")
        assert "shop" in result.stderr
        device = Settings().gate_run_directory("shop") / "device"
        result = run_holdfast("volume", "adopt", "again", device, check=False)
        assert refusal(result) == (3, "ADOPT")
    finally:
        run_holdfast("volume", "delete", "shop", "--yes")


def test_what_holdfast_itself_stands_on(run_holdfast: RunHoldfast, ram_directory: Path) -> None:
    with MountBench(ram_directory) as bench:
        path = bench.mount(bench.device("data"), "path")
        environment = {"HOLDFAST_HOME": str(path / "home")}
        result = run_holdfast("volume", "adopt", "data", path, check=False, **environment)
        assert refusal(result) == (3, "SELF")
        inner = path / "inner.img"
        with inner.open("wb") as file:
            file.truncate(16 << 20)
        run("mkfs.ext4", "-q", "-F", inner)
        below = bench.mount_image(inner, "below")
        environment = {"HOLDFAST_HOME": str(below / "home")}
        result = run_holdfast("volume", "adopt", "data", path, check=False, **environment)
        assert refusal(result) == (3, "SELF"), "also through an image on it"


def test_commands_of_gated_volumes_say_that_there_is_no_gate(
    run_holdfast: RunHoldfast, ram_directory: Path
) -> None:
    with MountBench(ram_directory) as bench:
        path = bench.mount(bench.device("data"), "path")
        run_holdfast("volume", "adopt", "data", path)
        for command in (
            ("volume", "hold", "data"),
            ("volume", "release", "data"),
            ("volume", "resize", "data", "1G"),
            ("volume", "attach", "data", "--leg", "file:/a.img"),
            ("leg", "add", "data", "file:/a.img"),
            ("drill", "data", "--fault", "leg-gone"),
        ):
            assert refusal(run_holdfast(*command, check=False)) == (6, "NOGATE"), command
