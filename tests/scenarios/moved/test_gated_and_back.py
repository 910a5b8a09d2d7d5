"""PostgreSQL under pgbench gets a gate and loses it, again and again; then a leg is lost."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from holdfast.config import Settings
from tests.faults import truncate_to_zero
from tests.kernel.restoration.bench import detach_loops_in, make_image, mounted
from tests.resume.killing import assert_nobody_noticed
from tests.scenarios.postgresql import Cluster, Load
from tests.scenarios.stories import Story
from tests.soak import rounds
from tests.waiting import wait_until

SIZE_BYTES = 512 << 20
TRANSACTIONS_BETWEEN = 50
TRANSACTIONS_PER_SECOND = 300
TYPES = ("ext4", "xfs", "btrfs")


class Changing:
    """The adopted volume `shop`, which gets a gate and loses it by the commands."""

    def __init__(self, folder: Path, path: Path, holdfast: Callable[..., Any]) -> None:
        self.path = path
        self._folder = folder
        self._holdfast = holdfast
        self._numbers = itertools.count(1)
        self._types = itertools.cycle((*TYPES[1:], TYPES[0]))
        self._present: list[Path] = []
        self._left: list[Path] = []
        holdfast("volume", "adopt", "shop", path)

    def gate(self) -> list[Path]:
        """Its legs, in sync."""
        legs = self._images(2)
        words = [word for leg in legs for word in ("--leg", f"file:{leg}")]
        self._change("gate", *words)
        shown = self._holdfast("volume", "show", "shop", json=True)
        assert shown["state"] == "healthy", shown
        assert [leg["state"] for leg in shown["legs"]] == ["in-sync", "in-sync"]
        return legs

    def ungate(self) -> None:
        [image] = self._images(1)
        self._change("ungate", f"file:{image}")
        shown = self._holdfast("volume", "show", "shop", json=True)
        assert (shown["kind"], shown["state"]) == ("adopted", "healthy"), shown

    def lose(self, leg: Path) -> None:
        """Empty it; the gate goes on without it."""
        truncate_to_zero(leg)

        def state() -> str:
            return str(self._holdfast("volume", "show", "shop", json=True)["state"])

        wait_until(lambda: state() == "degraded")

    def _change(self, verb: str, *words: str) -> None:
        command = ("volume", verb, "shop", *words, "--fs", next(self._types), "--yes")
        receipt = self._holdfast(*command, json=True, HOLDFAST_DEBUG="1")
        print(verb, receipt["longest_wait_ms"], receipt["verification"])
        assert receipt["outcome"] == "done", receipt
        assert receipt["errors_returned"] == 0, receipt
        assert "postgres" in [process["name"] for process in receipt["processes"]]
        for process in receipt["processes"]:
            assert all(set(kind) <= {"identical"} for kind in process["handles"].values()), receipt

    def _images(self, count: int) -> list[Path]:
        """New ones; those that the volume has left are deleted."""
        number = next(self._numbers)
        images = [self._folder / f"{number}-{leg}.img" for leg in range(count)]
        for old in self._left:
            old.unlink()
        self._left, self._present = self._present, images
        return images


@contextmanager
def changing(folder: Path, holdfast: Callable[..., Any]) -> Iterator[Changing]:
    folder.chmod(0o711)
    folder.parent.chmod(0o711)  # the folder of this run is closed to other users
    image = make_image(folder / "0.img", size_bytes=SIZE_BYTES)
    with mounted(image, folder / "mnt") as path:
        yield Changing(folder, path, holdfast)
        holdfast("volume", "detach", "shop")
        holdfast("volume", "delete", "shop", "--yes")
    detach_loops_in(folder)


@pytest.mark.timeout(900)
def test_no_transaction_fails(ram_directory: Path, run_holdfast: Callable[..., Any]) -> None:
    loads: list[Load] = []
    done = threading.Event()
    with changing(ram_directory, run_holdfast) as volume:
        directory, outside = volume.path / "cluster", ram_directory / "pg"
        with Cluster(directory, outside) as cluster:

            def working() -> None:
                before = committed(cluster)
                wait_until(lambda: committed(cluster) >= before + TRANSACTIONS_BETWEEN)

            def load() -> None:
                loads.append(cluster.load(until=done.is_set, rate=TRANSACTIONS_PER_SECOND))

            telling = Story(load)
            telling.start()
            try:
                for _ in range(rounds(1, 10)):
                    working()
                    volume.gate()
                    working()
                    volume.ungate()
                working()
                first, _ = volume.gate()
                working()
                volume.lose(first)
                working()
            finally:
                done.set()
                telling.finish()
            cluster.check(loads[0])
        assert_nobody_noticed(Settings().gate_run_directory("shop"))
        with Cluster(directory, outside) as cluster:
            cluster.check(loads[0])


def committed(cluster: Cluster) -> int:
    return int(cluster.psql("select count(*) from pgbench_history"))
