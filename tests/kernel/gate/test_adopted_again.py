"""The catalog, or the control socket, is lost while a gate runs: it says itself what it serves."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest

from holdfast.catalog import Catalog
from holdfast.config import Settings
from holdfast.errors import AlreadyExists
from holdfast.gate.outside.client import GateClient
from holdfast.model.volume import VolumeState
from holdfast.service import Holdfast
from holdfast.service.requests import NewVolume
from tests.kernel.fault.bench import Bench, plain_legs
from tests.kernel.fault.cells import FLUSHING
from tests.kernel.volume.stack import SIZE, volume, wish
from tests.waiting import wait_until


@pytest.mark.parametrize("how", ["at once", "recover", "attach", "attach --leg"])
def test_catalog(settings: Settings, ram_directory: Path, how: str) -> None:
    """Whatever comes next knows the volume again, with everything the catalog said of it."""
    wanted = wish(ram_directory, options="noatime")
    with volume(settings, wanted) as made:
        if how != "at once":
            Catalog(settings.catalog_path).close()  # there is one, which knows nothing
        with Holdfast(settings) as holdfast:
            [shown] = holdfast.status()
            assert (shown.name, shown.state) == ("shop", VolumeState.HEALTHY)
            if how == "recover":
                assert any("shop" in line for line in holdfast.recover())
            elif how == "attach":
                holdfast.attach_volume("shop")
            elif how == "attach --leg":
                holdfast.attach_volume("shop", made.leg_urls)
            found = holdfast.catalog.volume("shop")
            assert (found.id, found.mount.path, found.leg_urls) == (
                made.id,
                made.mount.path,
                made.leg_urls,
            )
            assert (found.mount.options, found.attached) == ("noatime", True)
            assert holdfast.recover() == []
            assert holdfast.show_volume("shop").state is VolumeState.HEALTHY


def test_its_name_is_taken(settings: Settings, ram_directory: Path) -> None:
    with volume(settings, wish(ram_directory)):
        Catalog(settings.catalog_path).close()
        again = NewVolume("shop", SIZE, str(ram_directory / "else"))
        with Holdfast(settings) as holdfast, pytest.raises(AlreadyExists, match="runs"):
            holdfast.plan_create(again)


@pytest.mark.parametrize("instead", ["nothing", "somebody else's socket"])
def test_socket(settings: Settings, ram_directory: Path, instead: str) -> None:
    """It is made anew, and both processes listen at it: also the next of each."""
    urls = plain_legs(ram_directory, 1, 1)
    with Bench(settings, ram_directory, urls) as bench:
        activity = bench.start(FLUSHING)
        for victim in ("", "worker_pid", "keeper_pid"):
            before = bench.counters()
            path = bench.run_directory / "control"
            path.unlink()
            if instead != "nothing":
                with socket.socket(socket.AF_UNIX) as other:
                    other.bind(str(path))
            wait_until(bench.answers)
            if victim:
                bench.kill(getattr(before, victim))
                wait_until(
                    lambda before=before, victim=victim: (
                        getattr(bench.counters(), victim)  # type: ignore[misc]
                        != getattr(before, victim)
                    )
                )
                activity.goes_on()
                wait_until(bench.answers)
        assert path.stat().st_mode & 0o777 == 0o600
        bench.check(1)


def test_run_directory_emptied(settings: Settings, ram_directory: Path) -> None:
    """As far as `rm -rf` gets: the device is a mount. The next keeper has the page all the same."""
    urls = plain_legs(ram_directory, 1, 1)
    with Bench(settings, ram_directory, urls) as bench:
        activity = bench.start(FLUSHING)
        before = bench.gate.show()
        shutil.rmtree(bench.run_directory, ignore_errors=True)
        wait_until(bench.answers)
        bench.kill(before["keeper_pid"])
        wait_until(lambda: bench.gate.show()["keeper_pid"] != before["keeper_pid"])
        bench.kill(before["worker_pid"])
        activity.goes_on()
        wait_until(bench.answers)
        assert GateClient(bench.run_directory).show()["takeovers"] == 1
        bench.check(1)
