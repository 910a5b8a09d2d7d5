"""systemd has nothing against the units, nor against the line of fstab in docs/install.md."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
UNITS = sorted((ROOT / "packaging").glob("*.service"))
GENERATOR = Path("/usr/lib/systemd/system-generators/systemd-fstab-generator")

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="this host has no systemd-analyze"
)

DATABASE = """[Unit]
Description=uses a volume
RequiresMountsFor=/srv/shop/data
[Service]
ExecStart=/bin/true
[Install]
WantedBy=multi-user.target
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The units, of a holdfast that is there."""
    for unit in UNITS:
        (tmp_path / unit.name).write_text(
            unit.read_text().replace("/usr/bin/holdfast", "/bin/true")
        )
    return tmp_path


def verify(folder: Path, *names: str) -> None:
    """Fails with what systemd says."""
    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(folder / name for name in names)],
        env={"SYSTEMD_UNIT_PATH": f"{folder}:", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (said.returncode, said.stderr) == (0, "")


def test_units(folder: Path) -> None:
    assert len(UNITS) == 4
    verify(folder, *(unit.name for unit in UNITS))


def documented_fstab() -> str:
    """The line that docs/install.md shows."""
    text = (ROOT / "docs" / "install.md").read_text()
    (line,) = re.findall(r"^\S+ +/srv/shop +holdfast .*$", text, re.MULTILINE)
    return str(line)


@pytest.mark.skipif(not GENERATOR.exists(), reason="this host has no systemd-fstab-generator")
def test_a_service_waits_for_a_volume_of_fstab(folder: Path) -> None:
    """It comes after the mount, which comes after the volumes; nothing goes in a circle."""
    (folder / "fstab").write_text(documented_fstab() + "\n")
    made = [folder / name for name in ("normal", "early", "late")]
    for each in made:
        each.mkdir()
    subprocess.run([GENERATOR, *made], env={"SYSTEMD_FSTAB": str(folder / "fstab")}, check=True)
    shutil.copy(made[0] / "srv-shop.mount", folder)
    (folder / "database.service").write_text(DATABASE)
    mount = (folder / "srv-shop.mount").read_text()
    assert "After=holdfast.service" in mount
    assert "Before=" not in mount  # local-fs.target comes before holdfast.service
    verify(folder, "database.service", "srv-shop.mount", *(unit.name for unit in UNITS))


def test_what_attaches_is_ordered_after_storage_and_what_watches_after_that() -> None:
    attaches, watches = (
        (ROOT / "packaging" / name).read_text()
        for name in ("holdfast.service", "holdfast-daemon.service")
    )
    after = {
        word
        for line in re.findall(r"^After=(.*)$", attaches, re.MULTILINE)
        for word in line.split()
    }
    assert {"local-fs.target", "remote-fs.target", "network-online.target"} <= after
    assert "ExecStart=/usr/bin/holdfast volume attach --wanted\n" in attaches
    assert "ExecStop=-/usr/bin/holdfast volume detach --wanted\n" in attaches
    assert "After=holdfast.service\n" in watches  # so it has ended before volumes are detached


@pytest.mark.parametrize(
    "name", ["postinst", "prerm", "postrm", "holdfast", "mount.holdfast", "build"]
)
def test_scripts_are_programs(name: str) -> None:
    path = ROOT / "packaging" / "deb" / name
    first = path.read_text().split("\n", 1)[0]
    assert path.stat().st_mode & 0o111
    subprocess.run([first.removeprefix("#!"), "-n", path], check=True)
