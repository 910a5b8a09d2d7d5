"""A package that is built, a newer one, and a Debian of its own in which it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

ENTER = r"""
set -e
cd "$1"
mount --bind . .
cd .
for folder in proc dev sys run srv mnt; do mkdir -p $folder; done
mount -t proc proc proc
mount --rbind /dev dev
mount -t sysfs sysfs sys
mount -t cgroup2 none sys/fs/cgroup
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs srv
mount --bind "$2" mnt
mkdir -p opt/old
pivot_root . opt/old
cd /
umount --lazy /opt/old
echo ready
read -r line
"""
"""A root and mounts of its own, as a container has: chroot(2) alone hides no mount namespace."""

ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """They are asked for, or part of a soak run."""
    if any(os.environ.get(name) == "1" for name in ("HOLDFAST_PACKAGE_TEST", "HOLDFAST_SOAK")):
        return
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="make package-test, or HOLDFAST_SOAK=1"))


class Debian:
    """A minimal Debian in a mount namespace of its own; `packages` is its /mnt."""

    def __init__(self, root: Path, packages: Path) -> None:
        self.root = root
        self._holder = subprocess.Popen(
            [
                "unshare",
                "--mount",
                "--propagation",
                "private",
                "bash",
                "-c",
                ENTER,
                "-",
                root,
                packages,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "ready\n"

    def close(self) -> None:
        """End the namespace, in which nothing runs any more."""
        self._holder.communicate("\n")

    def begin(self, *command: object) -> subprocess.Popen[str]:
        """Start a command in there, whose output is read by who wants it."""
        return subprocess.Popen(
            ["nsenter", "--mount", f"--target={self._holder.pid}", *map(str, command)],
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *command: object, status: int | None = 0) -> str:
        """Run one to its end; what it said on both. `status` is what it must end with, if any."""
        running = self.begin(*command)
        said = running.communicate()[0]
        assert status is None or running.returncode == status, f"{command}\n{said}"
        return said

    def install(self, package: Path) -> str:
        """As an administrator with a file."""
        return self.run("dpkg", "--install", f"/mnt/{package.name}")

    def names(self, place: str) -> list[str]:
        """What a directory has in it; nothing when it is not there."""
        return sorted(self.run("ls", "-A", place, status=None).split()) if self.has(place) else []

    def has(self, place: str) -> bool:
        """Whether there is such a file."""
        return self.begin("test", "-e", place).wait() == 0


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with both packages."""
    return tmp_path_factory.mktemp("packages")


@pytest.fixture(scope="session")
def package(packages: Path) -> Path:
    """The package of this tree."""
    said = subprocess.run(
        [ROOT / "packaging" / "deb" / "build", packages],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return Path(said.stdout.split()[-1])


@pytest.fixture(scope="session")
def newer(package: Path, packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The next one: the same, but for what it says its version is."""
    tree = tmp_path_factory.mktemp("newer") / "tree"
    subprocess.run(["dpkg-deb", "--raw-extract", package, tree], check=True)
    (version,) = tree.rglob("holdfast/model/version.py")
    version.write_text(version.read_text().replace('VERSION = "', 'VERSION = "9.'))
    identity = tree / "usr/lib/holdfast/package/ID"
    identity.write_text(f"9.{identity.read_text()}")
    control = tree / "DEBIAN/control"
    control.write_text(control.read_text().replace("\nVersion: ", "\nVersion: 9."))
    (tree / "DEBIAN/md5sums").unlink()
    made = packages / "newer.deb"
    build = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, made]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
    return made


@pytest.fixture(scope="session")
def fresh_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What debootstrap makes, with what the package depends on."""
    if shutil.which("debootstrap") is None:
        pytest.skip("this host has no debootstrap")
    root = tmp_path_factory.mktemp("debian") / "root"
    ask = ". /etc/os-release; echo $VERSION_CODENAME; readlink --canonicalize /usr/bin/python3"
    said = subprocess.run(["sh", "-c", ask], check=True, capture_output=True, text=True)
    release, python = said.stdout.split()
    needs = f"{Path(python).name},e2fsprogs,mount,init-system-helpers,systemd,kmod"
    command = ["debootstrap", "--variant=minbase", f"--include={needs}", release, str(root)]
    subprocess.run(
        ["unshare", "--mount", *command],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return root


@pytest.fixture
def debian(fresh_root: Path, packages: Path) -> Iterator[Debian]:
    """The Debian, without the package before and afterwards."""
    system = Debian(fresh_root, packages)
    try:
        yield system
        if system.has("/usr/bin/holdfast"):
            system.run("holdfast", "recover", status=None)
            for name in system.names("/var/lib/holdfast/gates"):
                system.run("holdfast", "volume", "detach", name, status=None)
                system.run("holdfast", "volume", "delete", name, "--yes", status=None)
        system.run("dpkg", "--purge", "holdfast")
    finally:
        system.close()


@pytest.fixture
def installed(debian: Debian, package: Path) -> Debian:
    """The Debian with the package of this tree."""
    debian.install(package)
    return debian
