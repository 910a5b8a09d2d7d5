"""Programs around a point: in order, within their time, root's alone; the one after always."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.copies.records import BegunHookRecords
from holdfast.errors import AlreadyExists, CommandFailed, InvalidOption, Untrusted
from holdfast.model.hook import PointHooks
from holdfast.service import Holdfast
from tests.forked import in_fork
from tests.kernel.daemon.pager import daemon
from tests.kernel.gate.kept_volume import made
from tests.waiting import wait_until


@pytest.fixture(name="holdfast")
def _holdfast(settings: Settings) -> Iterator[Holdfast]:
    with Holdfast(settings) as found:
        yield found


def test_hooks(holdfast: Holdfast, settings: Settings, ram_directory: Path) -> None:
    points, log = holdfast.histories.points, ram_directory / "log"

    def program(name: str, more: str = "") -> str:
        path = ram_directory / name
        said = 'echo "$HOLDFAST_HOOK $HOLDFAST_VOLUME $HOLDFAST_POINT $HOLDFAST_OUTCOME $*"'
        path.write_text(f"#!/bin/sh\n{said} >> {log}\n{more}\n")
        path.chmod(0o755)
        return f"{path} 'an argument'"

    def told() -> list[str]:
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return [each.removesuffix(" an argument") for each in lines]

    def names() -> list[str]:
        return [each.point.name for each in points.show("shop")]

    well, fails = program("well"), program("fails", "echo no; exit 3")
    slow = program("slow", "exec sleep 1017")
    kills = program("kills", "kill -9 $PPID; exec sleep 1017")
    with made(holdfast, ram_directory):
        holdfast.histories.keep("shop", str(ram_directory / "history"), None, None)
        points.create("shop", "one", PointHooks(well, well))
        assert told() == ["before shop one ", "after shop one taken"]
        with pytest.raises(CommandFailed, match="not taken"):
            points.create("shop", "two", PointHooks(fails, well))
        assert told() == ["before shop two ", "after shop two failed"]
        with pytest.raises(CommandFailed, match="did not end in 1 s"):
            points.create("shop", "two", PointHooks(slow, seconds=1.0))
        told()
        points.create("shop", "in-spite", PointHooks(fails, well, ignores_before=True))
        assert told() == ["before shop in-spite ", "after shop in-spite taken"]
        with pytest.raises(CommandFailed, match="was taken, and the hook after it failed"):
            points.create("shop", "after", PointHooks("", fails))
        with pytest.raises(CommandFailed, match="after failed, too"):
            points.create("shop", "both", PointHooks(fails, fails))
        told()
        with pytest.raises(AlreadyExists):
            points.create("shop", "one", PointHooks(well, well))
        (ram_directory / "fails").chmod(0o777)
        for hooks in (PointHooks(fails, well), PointHooks(well, fails)):
            with pytest.raises(Untrusted):
                points.create("shop", "two", hooks)
        long = f"/bin/true {'x' * (64 << 10)}"
        for wrong in ("quiesce", "/bin/true 'a", "/nobody/is/here", "/etc/passwd", long):
            with pytest.raises(InvalidOption):
                points.create("shop", "two", PointHooks(well, wrong))
        with pytest.raises(InvalidOption):
            PointHooks(well, seconds=0.0)
        assert told() == [] and names() == ["one", "in-spite", "after"]

        def killed() -> None:
            with Holdfast(settings) as other:
                other.histories.points.create("shop", "lost", PointHooks(kills, well))

        def by_the_daemon() -> bool:
            with daemon():
                wait_until(lambda: not BegunHookRecords(settings).all())
            return True

        for settle in (
            holdfast.recover, by_the_daemon, lambda: [points.create("shop", "next").name]
        ):  # fmt: skip
            holdfast.close()
            ended = in_fork(killed)
            assert ended.code == -9, ended.told
            assert told() == ["before shop lost "]
            assert settle()
            assert told() == ["after shop lost unknown"]
        assert not BegunHookRecords(settings).all() and "lost" not in names()
        assert not holdfast.recover()
        wait_until(lambda: not any(b"sleep\x001017\0" in each for each in _command_lines()))


def _command_lines() -> Iterator[bytes]:
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            yield each.read_bytes()
