"""A host with the package comes up, its volumes are attached in order, and it goes down cleanly."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.system.mounts.mount_table import mounts
from tests.package.conftest import Debian
from tests.package.machine import Machine
from tests.package.test_debian import WRITER
from tests.waiting import wait_until

LEGS = "var/holdfast-legs"
FSTAB = (
    "shop /srv/shop holdfast nofail,x-systemd.after=holdfast.service 0 0\n"
    "books /srv/books holdfast nofail,x-systemd.after=holdfast.service 0 0\n"
)
"""As docs/install.md has it."""

SERVICE = """[Unit]
RequiresMountsFor=/srv/{name}
[Service]
ExecStart=/usr/lib/holdfast/package/bin/python /root/writer.py /srv/{name}/log
ExecStopPost=/bin/sh -c 'findmnt /srv/{name} >/srv/{name}/ended'
[Install]
WantedBy=multi-user.target
"""


@pytest.fixture
def machine(installed: Debian) -> Iterator[Machine]:
    """The Debian with the package, switched off; without what the test made, afterwards."""
    root = installed.root
    fstab = root / "etc/fstab"
    before = fstab.read_text() if fstab.exists() else ""
    if not any(each.filesystem == "cgroup2" for each in mounts()):
        pytest.skip("this host shows no control groups of version 2")
    found = Machine(root)
    try:
        yield found
    finally:
        found.close()
        for name in ("shop", "books"):
            installed.run("systemctl", "disable", f"write-{name}", status=None)
            (root / f"etc/systemd/system/write-{name}.service").unlink(missing_ok=True)
        fstab.write_text(before)


def test_on_and_off_again(machine: Machine, installed: Debian) -> None:
    root = installed.root
    assert machine.boot() == "running"
    (root / LEGS).mkdir()
    (root / "root/writer.py").write_text(
        WRITER.replace("'/srv/shop/log'", "__import__('sys').argv[1]")
    )
    create(machine, "shop", "/srv/shop", "shop-1.img", "shop-2.img")
    create(machine, "books", "/srv/books", "books.img")
    create(machine, "away", "/srv/away", "away.img")
    machine.run("holdfast", "volume", "detach", "away")
    with (root / "etc/fstab").open("a") as fstab:
        fstab.write(FSTAB)
    for name in ("shop", "books"):
        unit = root / f"etc/systemd/system/write-{name}.service"
        unit.write_text(SERVICE.format(name=name))
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "enable", "--now", "write-shop", "write-books")
    goes_on(machine, "shop")
    machine.power_off()
    for image in (root / LEGS).iterdir():
        assert was_dismounted(image), image

    assert machine.boot() == "running"
    goes_on(machine, "shop")
    goes_on(machine, "books")
    assert machine.run("cat", "/srv/shop/ended").startswith("TARGET"), "ended without its volume"
    assert entered(machine, "srv-shop.mount") <= entered(machine, "write-shop.service")
    assert mounted(machine) == {"/srv/shop", "/srv/books"}
    assert "all volumes are well" in machine.run("holdfast", "status")
    machine.cut()

    (root / LEGS / "books.img").rename(root / "var/books-elsewhere.img")
    assert machine.boot() == "degraded"  # and not in silence
    goes_on(machine, "shop")
    assert mounted(machine) == {"/srv/shop"}
    failed = machine.run("systemctl", "--failed", "--plain", "--no-legend")
    assert "holdfast.service" in failed and "srv-books.mount" in failed, failed
    assert machine.run("systemctl", "is-active", "write-books", status=3) == "inactive\n"
    (root / "var/books-elsewhere.img").rename(root / LEGS / "books.img")
    machine.run("systemctl", "restart", "holdfast")
    machine.run("systemctl", "start", "write-books")
    goes_on(machine, "books")
    machine.power_off()
    for image in (root / LEGS).iterdir():
        assert was_dismounted(image), image


def create(machine: Machine, name: str, mount: str, *images: str) -> None:
    legs = [word for image in images for word in ("--leg", f"file:/{LEGS}/{image}")]
    machine.run("holdfast", "volume", "create", name, "--size", "32M", "--mount", mount, *legs)


def goes_on(machine: Machine, name: str) -> None:
    """Whoever writes to that volume gets on."""

    def size() -> int:
        said = machine.run("stat", "--format=%s", f"/srv/{name}/log", status=None).strip()
        return int(said) if said.isdigit() else 0

    before = size()
    wait_until(lambda: size() > before + 100)
    assert machine.run("systemctl", "is-active", f"write-{name}") == "active\n"


def mounted(machine: Machine) -> set[str]:
    said = machine.run("findmnt", "--noheadings", "--raw", "--output=TARGET", "--types=ext4")
    return {each for each in said.split() if each.startswith("/srv/")}


def entered(machine: Machine, unit: str) -> int:
    """When it became active, in microseconds since the host was switched on."""
    said = machine.run("systemctl", "show", "--property=ActiveEnterTimestampMonotonic", unit)
    return int(said.split("=")[1])


def was_dismounted(image: Path) -> bool:
    """Whether the file system on a leg needs nothing: what the kernel leaves after umount."""
    said = subprocess.run(["dumpe2fs", "-h", image], capture_output=True, text=True, check=True)
    return "state:         clean" in said.stdout and "needs_recovery" not in said.stdout
