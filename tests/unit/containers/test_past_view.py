"""A past view reads as the copy and what was written to it; a process that dies forgets nothing,
and a host that goes down nothing that was flushed."""

from __future__ import annotations

import errno
import fcntl
import itertools
import mmap
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import holdfast.containers.past
import holdfast.containers.past_layout
from holdfast.containers import make_past, open_container, parse_container_url, remove_past
from holdfast.containers.past_back_end import PastBackEnd
from holdfast.errors import HoldsData, InvalidUrl, TooSmall, Untrusted

PAGE = 4096
PAGES, BASE_PAGES = 30, 21
"""Of the view, and of the copy; units have four pages, and the last one is shorter."""

_BOOTS = itertools.count()
"""None is ever seen twice."""
_STEP = st.one_of(
    st.tuples(st.sampled_from(["write", "zero"]), st.integers(0, PAGES - 1), st.integers(1, 9)),
    st.tuples(st.sampled_from(["flush", "killed", "power cut"]), st.just(0), st.just(0)),
)


@pytest.fixture(name="url")
def _url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(holdfast.containers.past_layout, "MOST_UNITS", 8)
    base, url = tmp_path / "copy.img", f"past:{tmp_path}/view.past"
    base.write_bytes(b"".join(bytes([number % 5]) * PAGE for number in range(BASE_PAGES)))
    base.chmod(0o600)
    assert make_past(url, PAGES * PAGE, base, BASE_PAGES * PAGE)
    return url


def opened(url: str) -> PastBackEnd:
    back_end = open_container(url).open()
    assert isinstance(back_end, PastBackEnd)
    return back_end


def content(back_end: PastBackEnd) -> list[int]:
    """One byte for each page, all of whose bytes are it."""
    view = memoryview(mmap.mmap(-1, PAGES * PAGE))
    back_end.read(view, 0)
    pages = [bytes(view[at : at + PAGE]) for at in range(0, len(view), PAGE)]
    assert all(page == page[:1] * PAGE for page in pages)
    return [page[0] for page in pages]


def put(back_end: PastBackEnd, first: int, count: int, value: int) -> None:
    view = memoryview(mmap.mmap(-1, count * PAGE))
    view[:] = bytes([value]) * len(view)
    back_end.write(view, first * PAGE)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=st.lists(_STEP, max_size=25))
def test_as_the_copy_and_what_was_written(
    url: str, monkeypatch: pytest.MonkeyPatch, steps: list[tuple[str, int, int]]
) -> None:
    path = Path(url.partition(":")[2])
    path.unlink()
    make_past(url, PAGES * PAGE, path.with_name("copy.img"), BASE_PAGES * PAGE)
    now = [number % 5 if number < BASE_PAGES else 0 for number in range(PAGES)]
    since_flush = [{value} for value in now]
    back_end = opened(url)
    for number, (what, first, count) in enumerate(steps):
        end = min(PAGES, first + count)
        if what == "flush":
            back_end.flush()
            since_flush = [{value} for value in now]
        elif what in ("write", "zero"):
            value = 10 + number if what == "write" else 0
            if what == "write":
                put(back_end, first, end - first, value)
            else:
                done = 0
                while done < (end - first) * PAGE:
                    at, left = first * PAGE + done, (end - first) * PAGE - done
                    done += back_end.zero(at, left, keep_allocated=bool(count % 2))
            for page in range(first, end):
                now[page] = value
                since_flush[page].add(value)
        else:
            back_end.close()
            if what == "power cut":
                boot = f"boot {next(_BOOTS)}"
                monkeypatch.setattr(holdfast.containers.past, "boot_id", lambda boot=boot: boot)
            back_end = opened(url)
            if what == "power cut":
                now = content(back_end)
                assert all(value in may for value, may in zip(now, since_flush, strict=True))
                since_flush = [{value} for value in now]
        assert content(back_end) == now
        data = [page for page in range(PAGES) if now[page]]
        place = back_end.next_data(0, PAGES * PAGE)
        assert place <= (data[0] if data else PAGES) * PAGE
    back_end.close()
    assert path.with_name("copy.img").stat().st_size == BASE_PAGES * PAGE


def test_what_is_not_on_disk_is_not_told_of(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The data could not be flushed: after a power cut the copy's are read, not a hole."""
    back_end = opened(url)
    before = content(back_end)
    put(back_end, 4, 8, 99)

    def fails() -> None:
        raise OSError(errno.EIO, "it is")

    monkeypatch.setattr(back_end._own, "flush", fails)
    with pytest.raises(OSError, match="it is"):
        back_end.flush()
    back_end.close()
    monkeypatch.setattr(holdfast.containers.past, "boot_id", lambda: "another")
    back_end = opened(url)
    assert content(back_end) == before
    back_end.close()


def _changed(base: Path) -> None:
    with base.open("r+b") as file:
        file.write(b"x")


def _exchanged(base: Path) -> None:
    other = base.with_name("other")
    other.write_bytes(base.read_bytes())
    other.chmod(0o600)
    status = base.stat()
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.rename(base)


@pytest.mark.parametrize(
    "change", [_changed, _exchanged, lambda base: os.truncate(base, PAGE)], ids=str
)
def test_a_copy_that_is_not_what_it_was(url: str, change: Callable[[Path], None]) -> None:
    base = Path(url.partition(":")[2]).with_name("copy.img")
    os.utime(base, ns=(1, 1))
    path = Path(url.partition(":")[2])
    path.unlink()
    make_past(url, PAGES * PAGE, base, BASE_PAGES * PAGE)
    opened(url).close()
    change(base)
    with pytest.raises(Untrusted, match="not what"):
        opened(url)


def test_who_else_has_it(url: str) -> None:
    """Others may read the copy, and nobody write to it; the view is one gate's alone."""
    base = Path(url.partition(":")[2]).with_name("copy.img")
    back_end = opened(url)
    with pytest.raises(BlockingIOError):
        opened(url)
    with base.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(file, fcntl.LOCK_UN)
        back_end.close()
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(OSError, match="has the copy") as caught:
            opened(url)
        assert caught.value.errno == errno.EBUSY


def test_it_is_made_by_nobody_else(url: str) -> None:
    path = Path(url.partition(":")[2])
    container = open_container(url)
    for attempt in (lambda: container.check_free(0), container.erase):
        with pytest.raises(HoldsData):
            attempt()
    with pytest.raises(TooSmall):
        container.grow((PAGES + 1) * PAGE)
    with pytest.raises(InvalidUrl):
        open_container(f"past:{path}2").create(PAGE)
    with pytest.raises(InvalidUrl) as caught:
        parse_container_url("nonsense")
    assert "past" not in caught.value.mend
    remove_past(url, 1)
    assert path.exists()
    with path.open("r+b") as file:
        file.write(bytes(PAGE))
        file.truncate(path.stat().st_size - PAGE)
    with pytest.raises(Untrusted):
        opened(url)
    remove_past(url, 0)
    assert path.exists()
    remove_past(url, path.stat().st_ino)
    assert not path.exists()
