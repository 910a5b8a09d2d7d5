"""The dashboard of a real volume, as nobody: pages for whoever was let in, and for nobody else."""

from __future__ import annotations

import os
import re
import resource
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import httpx
import pytest

from holdfast.config import Settings
from holdfast.dashboard.live import MOST_STREAMS
from tests.forked import in_fork
from tests.kernel.api.serving import NOBODY, api
from tests.kernel.dashboard.serving import dashboard, visitor
from tests.waiting import wait_until

Run = Callable[..., Any]

MANY = 1000


@pytest.fixture
def many_files() -> Iterator[None]:
    """Room for so many connections in this process."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], 2 * MANY), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@contextmanager
def sleeping(file: IO[str]) -> Iterator[None]:
    """Somebody who has that file open, and took it from us."""
    process = subprocess.Popen(["sleep", "infinity"], stdin=file, cwd="/")
    file.close()
    try:
        yield
    finally:
        process.kill()
        process.wait()


def taken_over(pid: int, ours: Sequence[Path]) -> None:
    """Whoever has taken over that process has nothing open, and reaches nothing of ours, but what
    the API answers."""
    for each in Path(f"/proc/{pid}/fd").iterdir():
        kind = each.stat().st_mode
        target = str(each.readlink())
        assert not stat.S_ISDIR(kind) and not stat.S_ISBLK(kind), target
        assert not stat.S_ISREG(kind) or target.startswith("/memfd:"), target
    socket_path = Settings().api_socket
    gates = [int(each.name) for each in Path("/proc").glob("[0-9]*") if is_gate(each)]
    assert len(ours) > 20 and gates

    def try_everything() -> None:
        os.setgroups([NOBODY])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        reached = [each for each in ours if can_be_reached(each) and each != socket_path]
        assert not reached, reached
        for change in (
            socket_path.unlink,
            lambda: socket_path.rename(socket_path.with_name("other")),
            socket_path.with_name("mine").touch,
            lambda: os.kill(gates[0], 0),
            Path(f"/proc/{gates[0]}/cwd").readlink,
        ):
            with pytest.raises(PermissionError):
                change()

    ended = in_fork(try_everything)
    assert ended.code == 0, ended


def is_gate(process: Path) -> bool:
    """Whether that process serves a volume."""
    with suppress(OSError):
        return b"holdfast.gate" in (process / "cmdline").read_bytes()
    return False


def can_be_reached(path: Path) -> bool:
    """Whether we may read, change or ask it; what is a directory may be passed through."""
    with suppress(OSError):
        kind = path.stat().st_mode
        if stat.S_ISSOCK(kind):
            with socket.socket(socket.AF_UNIX) as asking:
                asking.connect(str(path))
                return True
        if stat.S_ISDIR(kind):
            return os.access(path, os.W_OK)
        return os.access(path, os.R_OK) or os.access(path, os.W_OK)
    return False


def test_a_volume_is_shown_to_who_may_look(
    holdfast_home: Path, disk_directory: Path, run_holdfast: Run
) -> None:
    images = [disk_directory / name for name in ("a.img", "b.img", "copy.img")]
    mount = disk_directory / "shop"
    run_holdfast(
        "volume", "create", "shop", "--size", "64M", "--mount", str(mount),
        "--leg", f"file:{images[0]}", "--leg", f"file:{images[1]}",
    )  # fmt: skip
    run_holdfast("history", "shop", "--at", str(disk_directory / "history"))
    run_holdfast("copy", "add", "shop", f"file:{images[2]}")
    run_holdfast("point", "create", "shop", "noon")
    (mount / "file").write_text("x")
    with api(), dashboard() as served, visitor(served) as (asking, inside):
        status = Path(f"/proc/{served.process.pid}/status").read_text()
        for name in ("Uid", "Gid"):
            assert re.search(rf"^{name}:(\s+{NOBODY}){{4}}$", status, re.MULTILINE), status
        assert re.search(r"^CapPrm:\s+0+$", status, re.MULTILINE)
        assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)

        ours = [each for each in disk_directory.rglob("*") if not each.is_relative_to(mount)]
        taken_over(served.process.pid, ours)

        overview = asking.get(f"{inside}/").text
        assert "all volumes are well" in overview
        assert str(mount) in overview and "healthy" in overview
        with (mount / "file").open():
            rest = asking.get(f"{inside}/volumes/shop/rest").text
        assert f"file:{images[2]}" in rest and "noon" in rest
        more = asking.get(f"{inside}/volumes/shop/more").text  # without a script
        assert f"file:{images[2]}" in more and "<nav " in more
        assert "holdfast restore" not in rest  # not before it was shown what that would do
        with (mount / "file").open() as file, sleeping(file):
            for at in (re.findall(r'value="([\dT:.-]+Z)"', rest)[0], "noon"):
                for kind in ("moment", "moment/part"):
                    judged = asking.get(f"{inside}/volumes/shop/{kind}", params={"at": at}).text
                    assert f"holdfast clone shop shop-then --at {at} " in judged
                    assert f"holdfast restore shop --at {at}<" in judged
                    assert " predicted</dd>" in judged and "sleep <" in judged
        for at in ("2020-01-01", "'; reboot #", "x" * 300, ""):
            judged = asking.get(f"{inside}/volumes/shop/moment/part", params={"at": at}).text
            assert 'role="alert"' in judged and "holdfast restore" not in judged
        assert "1 file" in rest
        assert f"file:{images[1]}" in asking.get(f"{inside}/volumes/shop").text
        first = re.search(r'/receipts/([0-9a-f-]+)"', asking.get(f"{inside}/receipts").text)
        assert first is not None
        picture = asking.get(f"{inside}/receipts/{first[1]}").text
        assert "<svg" in picture
        file = asking.get(f"{inside}/receipts/{first[1]}/file")
        assert file.headers["content-disposition"].startswith("attachment")
        assert "<script" not in file.text and "<svg" in file.text
        written = disk_directory / "receipt.html"
        run_holdfast("receipt", "show", first[1], "--html", str(written))
        assert written.read_text() == file.text
        with asking.stream("GET", f"{inside}/live/volumes/shop") as stream:
            lines = stream.iter_lines()
            assert any("healthy" in line for line in lines)
            assert any(line == "event: figures" for line in lines)

        for path in ("volumes/none", "volumes/%3Cscript%3E", "volumes/..%2f", "receipts/x", "x"):
            missing = asking.get(f"{inside}/{path}")
            assert missing.status_code in (400, 404) and "<script>" not in missing.text
        assert asking.post(f"{inside}/").status_code == 405
        assert asking.get(f"{inside}/", headers={"host": "evil.example"}).status_code == 421
        with httpx.Client() as stranger:
            for place in (served.place, inside, f"{inside}/live/overview"):
                answer = stranger.get(place)
                assert answer.status_code == 401 and "shop" not in answer.text
    run_holdfast("volume", "delete", "shop", "--yes")


def answered(line: socket.socket) -> bytes:
    """What was said so far, or until the end of a refusal; empty: the connection was ended."""
    said = b""
    with suppress(ConnectionError):
        while b"data: " not in said:
            piece = line.recv(4096)
            if not piece:
                break
            said += piece
    return said


def test_a_thousand_who_look_and_do_not_read_are_bounded(
    many_files: None, holdfast_home: Path
) -> None:
    with api(), dashboard() as served, visitor(served) as (asking, inside), ExitStack() as stack:
        ticket = "; ".join(f"{name}={value}" for name, value in asking.cookies.items())
        port = int(served.place.rpartition(":")[2])
        path = httpx.URL(inside).path
        request = (
            f"GET {path}/live/overview HTTP/1.1\r\nhost: 127.0.0.1\r\ncookie: {ticket}\r\n\r\n"
        )
        lines = []
        for _ in range(MANY):  # none of them reads more than the beginning of what it is told
            line = stack.enter_context(socket.socket(socket.AF_INET))
            with suppress(ConnectionError):
                line.connect(("127.0.0.1", port))
                line.sendall(request.encode())
            line.settimeout(60)
            lines.append(line)
        said = [answered(line) for line in lines]
        full = sum(b"event: full" in each for each in said)
        assert sum(b"volume" in each for each in said) == MOST_STREAMS
        ended = said.count(b"")  # there were as many connections as there may be
        assert full and ended and full + ended == MANY - MOST_STREAMS
        status = Path(f"/proc/{served.process.pid}/status").read_text()
        resident = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert resident is not None and int(resident[1]) < 200 << 10
        for line, words in zip(lines, said, strict=True):
            if b"volume" not in words:
                line.close()

        def is_shown() -> bool:
            with suppress(httpx.TransportError):  # until it is seen that they have gone
                return asking.get(f"{inside}/receipts").status_code == 200
            return False

        def has_room() -> bool:
            with asking.stream("GET", f"{inside}/live/overview") as stream:
                return "event: full" not in next(stream.iter_text())

        wait_until(is_shown)
        assert not has_room()
        for line in lines:
            line.close()
        wait_until(has_room)


def test_it_is_refused_where_it_would_show_too_much(holdfast_home: Path, run_holdfast: Run) -> None:
    def refused(*words: str) -> tuple[int, str]:
        ended = run_holdfast("dashboard", *words, check=False)
        return ended.returncode, ended.stderr

    assert "--beyond-this-host" in refused("--listen", "[::]:0")[1]
    assert "holdfast api" in refused("--listen", "127.0.0.1:0")[1]  # nobody serves
    with api(group=None):
        status, said = refused("--listen", "127.0.0.1:0")
        assert (status, "RIGHTS" in said) == (5, True)
