"""The Debian package's life: installed, upgraded under load, killed in the middle, removed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.model.version import VERSION
from tests.package.conftest import ROOT, Debian
from tests.soak import rounds
from tests.waiting import wait_until

WRITER = (
    "import os\n"
    "out = os.open('/srv/shop/log', os.O_CREAT | os.O_WRONLY | os.O_APPEND)\n"
    "for number in range(10**9):\n"
    "    os.write(out, b'%d\\n' % number)\n"
    "    os.fdatasync(out)\n"
)
"""Ends with the first error."""


def create(debian: Debian, name: str = "shop") -> None:
    debian.run(
        *("holdfast", "volume", "create", name, "--size", "64M"),
        *("--mount", f"/srv/{name}", "--leg", f"file:/srv/{name}.img"),
    )


@pytest.fixture
def writing(installed: Debian) -> Iterator[subprocess.Popen[str]]:
    """Somebody writes to the volume `shop`, line by line, each made durable."""
    create(installed)
    installed.run("touch", "/srv/shop/log")
    writer = installed.begin("/usr/lib/holdfast/package/bin/python", "-c", WRITER)
    yield writer
    if writer.poll() is None:
        writer.send_signal(signal.SIGINT)
        writer.communicate()


def goes_on(debian: Debian, writer: subprocess.Popen[str]) -> None:
    """Some lines more are in the file; but for the last, each was durable before the next."""

    def size() -> int:
        return int(debian.run("stat", "--format=%s", "/srv/shop/log"))

    before = size()
    wait_until(lambda: size() > before + 100 or writer.poll() is not None)
    assert writer.poll() is None, writer.communicate()


def version_of_gate(debian: Debian) -> str:
    said = debian.run("holdfast", "volume", "show", "shop", "--json")
    (line,) = [each for each in said.split("\n") if '"version"' in each]
    return line.split('"')[3]


def test_what_is_in_it(package: Path) -> None:
    """As lintian would look: all root's, nothing that others could write."""
    listed = (
        subprocess.run(
            ["dpkg-deb", "--contents", package], check=True, capture_output=True, text=True
        )
        .stdout.strip()
        .split("\n")
    )
    for line in listed:
        mode, owner, *_ = line.split()
        assert owner == "root/root", line
        assert mode[0] in "dl-" and (mode[0] == "l" or mode[5] != "w" != mode[8]), line
        assert "s" not in mode[1:] and "t" not in mode[1:], line
    places = {line.split()[5].split("/")[1] for line in listed} - {""}
    assert places == {"usr"}


def test_nothing_in_it_names_the_place_where_it_was_built(package: Path, tmp_path: Path) -> None:
    subprocess.run(["dpkg-deb", "--raw-extract", package, tmp_path / "tree"], check=True)
    found = subprocess.run(
        ["grep", "-rlE", f"holdfast-deb\\.|{ROOT}/", tmp_path / "tree"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout == ""


def test_installed_in_a_clean_root(installed: Debian) -> None:
    assert installed.run("holdfast", "--version") == f"holdfast {VERSION}\n"
    assert "Holdfast works here" in installed.run("holdfast", "doctor")
    assert "fast path: compiled code" in installed.run("holdfast", "doctor")
    assert installed.run("dpkg", "--verify", "holdfast") == ""
    units = ["holdfast.service", "holdfast-daemon.service"]
    assert installed.run("systemd-analyze", "verify", "--man=no", *units) == ""
    wanted = installed.names("/etc/systemd/system/multi-user.target.wants")
    assert set(units) <= set(wanted)
    others = "( -perm /022 -o ! -user root -o ! -group root ) ! -type l"
    assert installed.run("find", "/usr/lib/holdfast", *others.split()) == ""
    installed.run("systemd-tmpfiles", "--create", "/usr/lib/tmpfiles.d/holdfast.conf")
    said = installed.run("stat", "--format=%a %U", "/var/lib/holdfast", "/run/holdfast")
    assert said == "700 root\n700 root\n"
    assert "complete -F _holdfast holdfast" in installed.run(
        "cat", "/usr/share/bash-completion/completions/holdfast"
    )
    assert ".TH HOLDFAST" in installed.run("zcat", "/usr/share/man/man8/holdfast.8.gz")


def test_a_line_of_fstab(installed: Debian) -> None:
    create(installed)
    installed.run("holdfast", "volume", "detach", "shop")
    installed.run("mount", "-t", "holdfast", "shop", "/srv/shop")
    assert "ext4" in installed.run("findmnt", "--noheadings", "/srv/shop")
    installed.run("mount", "-t", "holdfast", "shop", "/srv/shop", status=None)  # once more: no harm
    refused = installed.run("mount", "-t", "holdfast", "shop", "/srv", status=32)
    assert "belongs at /srv/shop" in refused
    assert "error[" in installed.run("mount", "-t", "holdfast", "none", "/srv/shop", status=32)


def test_upgraded_and_downgraded_under_load(
    installed: Debian, writing: subprocess.Popen[str], package: Path, newer: Path
) -> None:
    goes_on(installed, writing)
    for each, version in [(newer, f"9.{VERSION}"), (newer, f"9.{VERSION}"), (package, VERSION)]:
        installed.install(each)
        goes_on(installed, writing)
        assert version_of_gate(installed) == version
        assert installed.run("holdfast", "--version") == f"holdfast {version}\n"
        assert len(installed.names("/usr/lib/holdfast/versions")) == 1
    assert 'errors_returned": 0' in installed.run("holdfast", "volume", "show", "shop", "--json")


def test_dpkg_is_killed_in_the_middle(
    installed: Debian, writing: subprocess.Popen[str], package: Path, newer: Path
) -> None:
    """Whenever it is: the command works, the volume goes on, a keeper that dies is succeeded."""
    goes_on(installed, writing)
    for number in range(rounds(4, 40)):
        each = (newer, package)[number % 2]
        installing = installed.begin("dpkg", "--install", f"/mnt/{each.name}")
        with pytest.raises(subprocess.TimeoutExpired):
            installing.wait(random.uniform(0.0, 6.0))
            raise subprocess.TimeoutExpired("dpkg", 0)  # it had ended already
        installing.kill()
        installing.communicate()
        assert "shop is well" in installed.run("holdfast", "status")
        keeper = keeper_of(installed)
        os.kill(keeper, signal.SIGKILL)
        wait_until(lambda gone=keeper: keeper_of(installed) != gone)
        goes_on(installed, writing)
    installed.run("dpkg", "--configure", "-a", status=None)
    installed.install(newer)
    goes_on(installed, writing)
    assert version_of_gate(installed) == f"9.{VERSION}"
    assert len(installed.names("/usr/lib/holdfast/versions")) == 1


def keeper_of(debian: Debian) -> int:
    said = debian.run("holdfast", "volume", "show", "shop", "--json")
    (line,) = [each for each in said.split("\n") if '"keeper_pid"' in each]
    return int(line.split(":")[1].strip(" ,"))


def test_removed(installed: Debian, package: Path) -> None:
    create(installed)
    refused = installed.run("dpkg", "--remove", "holdfast", status=1)
    assert "the volume shop is attached\n    mend: holdfast volume detach shop\n" in refused
    assert "shop is well" in installed.run("holdfast", "status")
    installed.run("holdfast", "volume", "detach", "shop")
    installed.run("dpkg", "--remove", "holdfast")
    assert installed.names("/usr/lib/holdfast") == []
    assert "there are volumes in it" in installed.run("dpkg", "--purge", "holdfast")
    assert "catalog.sqlite" in installed.names("/var/lib/holdfast")
    installed.install(package)
    installed.run("holdfast", "volume", "attach", "shop")
    installed.run("holdfast", "volume", "delete", "shop", "--yes")


def test_purged(installed: Debian, package: Path) -> None:
    installed.run("holdfast", "status")
    installed.run("dpkg", "--purge", "holdfast")
    left = (
        "find / -xdev ( -path /proc -o -path /mnt -o -path /tmp ) -prune -o -name *holdfast* -print"
    )
    assert installed.run(*left.split()) == ""
    installed.install(package)
    assert installed.run("holdfast", "--version") == f"holdfast {VERSION}\n"
