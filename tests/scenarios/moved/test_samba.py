"""Samba shares a volume that is migrated; a client has a file with an oplock open all the time.

Samba finds by inode number who has a file open, which is told before; so nobody opens another file
between two moves, who might be taken for this client. With the lease the kernel goes by the file.
The server has a network namespace of its own: its port is one that a client cannot choose. They
speak the oldest dialect: in the others the client of python3-samba hears of no break of an oplock.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.moved.moving import (
    SHORT_WITH_COMMANDS,
    migration,
    move_in_turn,
    run,
    started,
)
from tests.scenarios.moved.programs import needed
from tests.waiting import wait_until

USER, WORD = "nobody", "moved"
RECORDS, RECORD_BYTES = 256, 4096
"""What the file has room for: the next one takes the place of the oldest."""
RECORDS_BETWEEN = 20
CONFIGURATION = """
[global]
server role = standalone server
workgroup = MOVED
interfaces = lo
bind interfaces only = yes
smb ports = 445
disable netbios = yes
server min protocol = NT1
client min protocol = NT1
load printers = no
passdb backend = tdbsam:{outside}/passwords.tdb
private dir = {outside}/private
lock directory = {outside}/lock
state directory = {outside}/state
cache directory = {outside}/cache
pid directory = {outside}/pid
ncalrpc dir = {outside}/rpc
log file = {outside}/smbd.log
log level = 1
oplocks = yes
kernel oplocks = yes
[share]
path = {volume}/share
read only = no
"""

CLIENT = f"""
import sys, threading, time
from samba.credentials import Credentials
from samba.samba3 import libsmb_samba_internal as libsmb, param
BATCH_OPLOCK, READ_WRITE_DELETE, OVERWRITE_OR_CREATE = 6, 0x1301BF, 5
parameters = param.get_context()
parameters.load(sys.argv[1])
credentials = Credentials()
credentials.guess(parameters)
credentials.set_username("{USER}")
credentials.set_password("{WORD}")
credentials.set_workstation("moved")
share = libsmb.Conn(
    "127.0.0.1", "share", parameters, credentials, multi_threaded=True, force_smb1=True
)
held = share.create(
    "held", CreateFlags=BATCH_OPLOCK, DesiredAccess=READ_WRITE_DELETE,
    CreateDisposition=OVERWRITE_OR_CREATE,
)
broken = threading.Event()
def wait_for_break():
    share.get_oplock_break()
    broken.set()
threading.Thread(target=wait_for_break, daemon=True).start()
number = 0
while not broken.is_set():
    data = f"{{number}} ".encode().ljust({RECORD_BYTES}, b"x")
    offset = number % {RECORDS} * {RECORD_BYTES}
    assert share.write(held, data, offset) == len(data)
    assert share.read(held, offset, len(data)) == data
    print(number, flush=True)
    number += 1
    time.sleep(0.01)
share.close(held)
print("broken", flush=True)
"""
"""A record into the file that is held, and out of it, again and again, until the oplock is taken
back."""


def test_the_oplock_stays(ram_directory: Path, run_holdfast: Callable[..., Any]) -> None:
    smbd, smbpasswd, python, *_ = needed("smbd", "smbpasswd", "/usr/bin/python3", "ip", "ss")
    if subprocess.run([python, "-c", "import samba.samba3"], check=False).returncode:
        pytest.skip("needs python3-samba")
    with migration(ram_directory, run_holdfast, options=["--force"]) as mover:
        share = mover.path / "share"
        share.mkdir()
        run("chown", USER, share)
        configuration = _configure(ram_directory / "samba", mover.path, smbpasswd)
        output = ram_directory / "output"
        with (
            _serving(smbd, configuration) as network,
            output.open("wb") as file,
            started(
                [*network, python, "-c", CLIENT, configuration],
                cwd="/",
                stdout=file,
                stderr=subprocess.STDOUT,
            ) as client,
        ):
            held = share / "held"

            def working() -> None:
                before = len(_lines(output))
                wait_until(
                    lambda: (
                        len(_lines(output)) >= before + RECORDS_BETWEEN or client.poll() is not None
                    )
                )
                assert client.poll() is None, output.read_text()[-500:]
                assert _leases(held) == ["WRITE"]

            working()
            command = ("migrate", mover.name, f"file:{ram_directory}/other.img", "--dry-run")
            told = run_holdfast(*command, check=False)
            assert told.returncode != 0
            assert "files that clients of Samba have open" in told.stdout + told.stderr
            moves = move_in_turn(mover, working, SHORT_WITH_COMMANDS)
            assert all(any("smbd" in name for name in moved.processes) for moved in moves), moves
            # Somebody else's open waits until the client has heard of it, through the server.
            written = {int(word) for word in run("cat", held).replace("x", " ").split()}
            assert client.wait(timeout=60) == 0, output.read_text()[-500:]
            *numbers, last = _lines(output)
            assert last == "broken"
            assert numbers == [str(number) for number in range(len(numbers))]
            assert written == set(range(len(numbers))[-RECORDS:])
            wait_until(lambda: _leases(held) == [])


@contextmanager
def _serving(smbd: str, configuration: Path) -> Iterator[list[str]]:
    """A server; the beginning of a command in its network."""
    up = 'ip link set lo up && exec "$@"'
    words = [smbd, "--foreground", "--no-process-group", f"--configfile={configuration}"]
    command = ["unshare", "--net", "sh", "-c", up, "sh", *words]
    with started(command, cwd="/", stdin=subprocess.DEVNULL) as server:
        network = ["nsenter", f"--net=/proc/{server.pid}/ns/net"]
        listening = [*network, "ss", "--no-header", "--listening", "--tcp", "sport = 445"]
        wait_until(
            lambda: (
                server.poll() is not None
                or subprocess.run(listening, check=False, capture_output=True).stdout
            )
        )
        assert server.poll() is None
        yield network


def _configure(outside: Path, volume: Path, smbpasswd: str) -> Path:
    outside.mkdir()
    for name in ("private", "lock", "state", "cache", "pid", "rpc"):
        (outside / name).mkdir()
    configuration = outside / "smb.conf"
    configuration.write_text(CONFIGURATION.format(outside=outside, volume=volume))
    subprocess.run(
        [smbpasswd, "-c", configuration, "-s", "-a", USER],
        input=f"{WORD}\n{WORD}\n",
        text=True,
        check=True,
        capture_output=True,
    )
    return configuration


def _lines(output: Path) -> list[str]:
    return output.read_text().splitlines()


def _leases(path: Path) -> list[str]:
    """The types of the leases that somebody has on a file, as /proc/locks tells them."""
    number = path.stat().st_ino  # its device there is another one than stat(2) names on btrfs
    lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    leases = [words for words in lines if words[1] == "LEASE"]
    return [words[3] for words in leases if words[5].rpartition(":")[2] == str(number)]
