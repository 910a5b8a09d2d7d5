"""Fault: the name of a leg's image in use is removed, changed, given away, or not reached."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import AlreadyExists, HoldsData, LastLeg
from holdfast.model.volume import VolumeState
from holdfast.volumes.report import report_volume
from tests.faults.mounting import unmount
from tests.faults.small_disk import SmallDisk
from tests.kernel.fault.bench import Bench, plain_legs
from tests.waiting import wait_until


def _image(url: str) -> Path:
    return Path(url.removeprefix("file:"))


def _lose_name(bench: Bench, number: int) -> None:
    """Wait until the gate has seen it."""
    wait_until(lambda: bench.leg_states()[number] == "failed")


def test_a_deleted_leg_is_replaced_by_the_spare(settings: Settings, ram_directory: Path) -> None:
    """At once, also while nobody uses the volume, and with a receipt."""
    urls = plain_legs(ram_directory, 1, 2)
    spare = f"file:{ram_directory}/spare.img"
    with Bench(settings, ram_directory, urls, spare_urls=(spare,)) as bench:
        _image(urls[0]).unlink()
        wait_until(lambda: bench.leg_states() == {2: "in-sync", 3: "in-sync"})
        assert "its image was deleted" in bench.wait_for_receipt("failover")["cause"]


def test_with_every_name_gone_the_data_moves_to_the_spare(
    settings: Settings, ram_directory: Path
) -> None:
    urls = plain_legs(ram_directory, 1, 2)
    spare = f"file:{ram_directory}/spare.img"
    with Bench(settings, ram_directory, urls, spare_urls=(spare,)) as bench:
        file = bench.mountpoint / "file"
        file.write_text("kept")
        for url in urls:
            _image(url).unlink()
        wait_until(lambda: bench.leg_states().get(3) == "in-sync")
        wait_until(lambda: list(bench.leg_states().values()).count("failed") == 1)
        assert report_volume(settings, bench.volume).state is VolumeState.DEGRADED
        bench.detach()
        bench.attach()
        assert file.read_text() == "kept"


def test_a_renamed_leg_is_in_sync_again_when_it_has_its_name_back(
    settings: Settings, ram_directory: Path
) -> None:
    urls = plain_legs(ram_directory, 1, 2)
    elsewhere = ram_directory / "elsewhere.img"
    with Bench(settings, ram_directory, urls) as bench:
        _image(urls[1]).rename(elsewhere)
        _lose_name(bench, 2)
        assert f"its image is {elsewhere} now" in bench.reason(2)
        elsewhere.rename(_image(urls[1]))
        bench.wait_until_healthy()


def test_the_last_leg_stays_in_use_and_is_not_let_go_of(
    settings: Settings, ram_directory: Path
) -> None:
    """Whatever dies meanwhile; a leg that is added, under its old name too, is the mend."""
    (url,) = plain_legs(ram_directory, 1, 1)
    with Bench(settings, ram_directory, [url]) as bench:
        file = bench.mountpoint / "file"
        file.write_text("kept")
        _image(url).unlink()
        with pytest.raises(LastLeg, match="its image was deleted"):
            bench.detach()
        assert bench.mountpoint.is_mount()
        assert report_volume(settings, bench.volume).state is VolumeState.DEGRADED
        assert bench.wait_for_receipt("name")["outcome"].startswith("continued")
        for process in ("worker_pid", "keeper_pid", "worker_pid"):
            _kill(bench, process)
            _write_durably(file, f"kept without its {process}")
        bench.gate.add_leg(url)
        wait_until(lambda: list(bench.leg_states().values()) == ["in-sync"])
        bench.detach()
        bench.attach()
        assert file.read_text() == "kept without its worker_pid"


@pytest.mark.parametrize("killed", ["", "worker_pid"])
def test_the_last_leg_fails_for_a_moment(
    settings: Settings, ram_directory: Path, killed: str
) -> None:
    """Nobody finds it by its name, and it is the only one: what the keeper has is taken again."""
    (url,) = plain_legs(ram_directory, 1, 1)
    with Bench(settings, ram_directory, [url]) as bench:
        file = bench.mountpoint / "file"
        _write_durably(file, "kept")
        _image(url).unlink()
        bench.wait_for_receipt("name")
        bench.gate.fault("leg-eio", "1", 2.0)
        writer = threading.Thread(target=_write_durably, args=(file, "kept all the same"))
        writer.start()
        bench.wait_until_held()
        if killed:
            _kill(bench, killed)
        writer.join(60)
        assert not writer.is_alive()
        assert file.read_text() == "kept all the same"
        assert bench.gate.show()["errors_returned"] == 0
        with pytest.raises(LastLeg, match="its image was deleted"):
            bench.detach()
        bench.gate.add_leg(url)
        wait_until(lambda: list(bench.leg_states().values()) == ["in-sync"])


def _write_durably(file: Path, text: str) -> None:
    with file.open("w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def test_a_renamed_leg_that_hangs_has_its_name_back(
    settings: Settings, ram_directory: Path
) -> None:
    """The keeper's hold on the container, with its lock, keeps nobody from taking it again."""
    (url,) = plain_legs(ram_directory, 1, 1)
    elsewhere = ram_directory / "elsewhere.img"
    with Bench(settings, ram_directory, [url]) as bench:
        file = bench.mountpoint / "file"
        _image(url).rename(elsewhere)
        bench.wait_for_receipt("name")
        bench.gate.fault("leg-eio", "1", 2.0)
        writer = threading.Thread(target=_write_durably, args=(file, "kept"))
        writer.start()
        bench.wait_until_held()
        elsewhere.rename(_image(url))
        writer.join(60)
        assert not writer.is_alive()
        bench.wait_until_healthy()
        bench.detach()
        bench.attach()
        assert file.read_text() == "kept"


def _kill(bench: Bench, process: str) -> None:
    before = bench.gate.look()[process]
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: bench.gate.show()[process] != before)


def test_a_name_that_another_file_has_is_told_and_not_overwritten(
    settings: Settings, ram_directory: Path
) -> None:
    (url,) = plain_legs(ram_directory, 1, 1)
    with Bench(settings, ram_directory, [url]) as bench:
        other = ram_directory / "other.img"
        other.write_bytes(b"precious" * 4096)
        other.rename(_image(url))
        _lose_name(bench, 1)
        assert "another one has its name" in bench.reason(1)
        with pytest.raises(HoldsData):
            bench.gate.add_leg(url)
        with pytest.raises(LastLeg):
            bench.detach()
        bench.gate.add_leg(f"file:{ram_directory}/new.img")
        wait_until(lambda: bench.leg_states().get(2) == "in-sync")
        bench.gate.remove_leg("1")
        bench.detach()
        assert _image(url).read_bytes() == b"precious" * 4096


def test_the_only_leg_with_a_name_cannot_be_removed(
    settings: Settings, ram_directory: Path
) -> None:
    urls = plain_legs(ram_directory, 1, 2)
    with Bench(settings, ram_directory, urls) as bench:
        for url in urls:
            _image(url).unlink()
        wait_until(lambda: "failed" in bench.leg_states().values())
        bench.gate.look()
        named = [each for each, state in bench.leg_states().items() if state == "in-sync"]
        for number in named:
            with pytest.raises(LastLeg):
                bench.gate.remove_leg(str(number))


@pytest.mark.parametrize("both", [False, True], ids=["one leg there", "both there"])
def test_a_lazily_unmounted_disk(settings: Settings, ram_directory: Path, both: bool) -> None:
    """Its images are not reached any more: degraded, or not let go of."""
    with SmallDisk(ram_directory / "disk", 200 << 20) as disk:
        urls = plain_legs(disk.path, 1, 2) if both else [*plain_legs(disk.path, 1, 1)]
        urls += [] if both else plain_legs(ram_directory, 2, 2)
        with Bench(settings, ram_directory, urls) as bench:
            unmount(disk.path)
            _lose_name(bench, 1)
            assert "a file system was unmounted" in bench.reason(1)
            if both:
                with pytest.raises(LastLeg):
                    bench.detach()
            else:
                bench.detach()
                bench.attach()


def test_an_untouched_leg_is_no_second_leg(settings: Settings, ram_directory: Path) -> None:
    """While it has its name, adding it again is refused as ever."""
    (url,) = plain_legs(ram_directory, 1, 1)
    with Bench(settings, ram_directory, [url]) as bench:
        assert _looks(bench, 2)() == [[], []]
        with pytest.raises(AlreadyExists):
            bench.gate.add_leg(url)


def _looks(bench: Bench, count: int) -> Callable[[], list[list[int]]]:
    return lambda: [bench.gate.look()["nameless"] for _ in range(count)]
