"""The update lock of an image: one holder at a time, whoever dies, on whichever host."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.coordination.update_lock import SUFFIX, VERSION, UpdateLock
from holdfast.errors import ContainerFailed, InUse, NewerVersion, Untrusted


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return tmp_path / "shop.img"


def lock(image: Path, owner: str = "r1") -> UpdateLock:
    return UpdateLock(f"file:{image}", "shop", owner)


def written(image: Path) -> dict[str, object]:
    values = json.loads(Path(f"{image}{SUFFIX}").read_text())
    assert isinstance(values, dict)
    return values


def in_another_process(image: Path, then: str) -> int:
    """Take it there; the number of the process, which waits, or has ended."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            lock(image, "other").take(0.0)
            os.write(writing, b"x")
            if then == "wait":
                time.sleep(60)
        finally:
            os._exit(0)
    os.close(writing)
    assert os.read(reading, 1) == b"x"
    os.close(reading)
    if then == "die":
        os.waitpid(child, 0)
    return child


def test_tokens_grow_and_the_file_remembers_them(image: Path) -> None:
    tokens = []
    for owner in ("a", "b", "c"):
        held = lock(image, owner)
        held.take()
        tokens.append(held.token)
        held.give_back()
        assert written(image)["owner"] == ""
    assert tokens == [1, 2, 3]


def test_another_process_waits_and_is_refused(image: Path) -> None:
    child = in_another_process(image, "wait")
    try:
        with pytest.raises(InUse, match=str(child)):
            lock(image).take(0.2)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
    held = lock(image)
    held.take(5.0)
    assert held.token == 2
    held.give_back()


def test_a_holder_of_this_host_that_died_holds_nothing(image: Path) -> None:
    in_another_process(image, "die")
    held = lock(image)
    held.take(0.0)
    assert held.token == 2
    held.give_back()


def test_a_holder_of_another_host_keeps_it_until_its_lease_has_run_out(image: Path) -> None:
    path = Path(f"{image}{SUFFIX}")
    path.write_text(
        json.dumps({"token": 7, "owner": "x", "host": "elsewhere", "lease_seconds": 100, "pid": 1})
    )
    with pytest.raises(InUse, match="elsewhere"):
        lock(image).take(0.0)
    assert written(image)["token"] == 7
    os.utime(path, (time.time() - 200, time.time() - 200))
    held = lock(image)
    held.take(0.0)
    assert held.token == 8
    held.give_back()


def test_a_torn_file_is_nobodys(image: Path) -> None:
    Path(f"{image}{SUFFIX}").write_text('{"token": 7, "own')
    held = lock(image)
    held.take(0.0)
    held.give_back()


def test_the_first_version_is_not_written_and_may_be(image: Path) -> None:
    path = Path(f"{image}{SUFFIX}")
    path.write_text(json.dumps({"version": VERSION, "token": 7, "owner": "", "colour": "red"}))
    path.chmod(0o600)
    held = lock(image)
    held.take(0.0)
    assert held.token == 8
    assert "version" not in written(image)
    held.give_back()
    assert "version" not in written(image)


@pytest.mark.parametrize("owner", ["", "r1", "other"])
def test_what_a_newer_version_wrote_is_not_touched(image: Path, owner: str) -> None:
    """Also when it was given back: what that means only the newer version knows."""
    path = Path(f"{image}{SUFFIX}")
    path.write_text(json.dumps({"version": VERSION + 1, "token": 7, "owner": owner}))
    path.chmod(0o600)
    before = path.read_bytes()
    with pytest.raises(NewerVersion, match="newer version") as refused:
        lock(image).take(0.0)
    assert str(path) in refused.value.message
    assert refused.value.mend
    lock(image).give_back()
    assert path.read_bytes() == before


def test_giving_back_what_is_not_ours_does_nothing(image: Path) -> None:
    lock(image).give_back()
    held = lock(image)
    held.take()
    before = written(image)
    lock(image, "other").give_back()
    assert written(image) == before
    with pytest.raises(InUse):
        lock(image, "other").take(0.0)
    held.give_back()


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ContainerFailed, match="cannot be made"):
        UpdateLock(f"file:{tmp_path}/gone/shop.img", "shop", "r1").take(0.0)


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _hard_link(path: Path) -> None:
    other = path.with_name("precious")
    other.write_text("precious")
    path.hardlink_to(other)


def _link(path: Path) -> None:
    path.symlink_to("precious")


def _writable(path: Path) -> None:
    path.write_text("{}")
    path.chmod(0o666)


@pytest.mark.parametrize("make", [_fifo, _hard_link, _link, _writable])
def test_what_a_stranger_may_have_put_there_is_not_touched(
    image: Path, make: Callable[[Path], None]
) -> None:
    path = Path(f"{image}{SUFFIX}")
    make(path)
    before = path.lstat()
    with pytest.raises(Untrusted):
        lock(image).take(0.0)
    lock(image).give_back()
    assert path.lstat().st_ino == before.st_ino
    assert path.lstat().st_size == before.st_size


@pytest.mark.parametrize(
    "values",
    [
        {"token": "x", "owner": ""},
        {"token": -1, "owner": ""},
        {"token": 1, "owner": "r0", "host": "other", "lease_seconds": "long"},
        {"token": 1, "owner": "r0", "host": "other", "lease_seconds": 1e300},
    ],
)
def test_what_nobody_of_us_has_written_is_nothing(image: Path, values: dict[str, object]) -> None:
    """On a server strangers may write into it: it neither lasts for ever nor is it a mistake."""
    path = Path(f"{image}{SUFFIX}")
    path.write_text(json.dumps(values))
    path.chmod(0o600)
    held = lock(image)
    held.take(0.0)
    assert held.token == 1
    held.give_back()
