"""The dashboard of a real volume, as nobody: pages for whoever was let in, and for nobody else."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import httpx

from holdfast.dashboard.live import MOST_STREAMS
from tests.kernel.api.serving import NOBODY, api
from tests.kernel.dashboard.serving import dashboard, visitor
from tests.waiting import wait_until

Run = Callable[..., Any]


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

        overview = asking.get(f"{inside}/").text
        assert "all volumes are well" in overview
        assert str(mount) in overview and "healthy" in overview
        with (mount / "file").open():
            rest = asking.get(f"{inside}/volumes/shop/rest").text
        assert f"file:{images[2]}" in rest and "noon" in rest
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

        for path in ("volumes/none", "volumes/%3Cscript%3E", "volumes/..%2f", "receipts/0", "x"):
            missing = asking.get(f"{inside}/{path}")
            assert missing.status_code in (400, 404) and "<script>" not in missing.text
        assert asking.post(f"{inside}/").status_code == 405
        assert asking.get(f"{inside}/", headers={"host": "evil.example"}).status_code == 421
        with httpx.Client() as stranger:
            for place in (served.place, inside, f"{inside}/live/overview"):
                answer = stranger.get(place)
                assert answer.status_code == 401 and "shop" not in answer.text
    run_holdfast("volume", "delete", "shop", "--yes")


def test_many_who_look_or_do_not_read_are_bounded(holdfast_home: Path, run_holdfast: Run) -> None:
    with api(), dashboard() as served, visitor(served) as (asking, inside), ExitStack() as stack:
        ticket = "; ".join(f"{name}={value}" for name, value in asking.cookies.items())
        port = int(served.place.rpartition(":")[2])
        path = httpx.URL(inside).path
        request = (
            f"GET {path}/live/overview HTTP/1.1\r\nhost: 127.0.0.1\r\ncookie: {ticket}\r\n\r\n"
        )
        lines = []
        for _ in range(MOST_STREAMS + 10):  # none of them reads what it is told
            line = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            line.settimeout(60)
            line.sendall(request.encode())
            lines.append(line)
        answered = [line.recv(12) for line in lines]
        assert answered.count(b"HTTP/1.1 200") == MOST_STREAMS
        assert answered.count(b"HTTP/1.1 503") == 10
        assert asking.get(f"{inside}/receipts").status_code == 200
        for line in lines:
            line.close()

        def has_room() -> bool:
            with asking.stream("GET", f"{inside}/live/overview") as stream:
                return stream.status_code == 200

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
