"""A gate that does not start, a plain container that cannot be mounted: everything goes back while
everybody stands, and the application sees nothing of it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import DeadlinePassed, HoldfastError
from holdfast.gate.outside.client import read_counters
from holdfast.gate.processes.remains import lingering_processes
from holdfast.model.volume import VolumeState
from holdfast.restoration.performing.perform import perform
from holdfast.service import GateRequest, Holdfast, NewVolume, UngateRequest
from tests.faults import FuseLeg, truncate_to_zero
from tests.forked import forked
from tests.kernel.restoration.bench import application, is_settled, make_image, mounted
from tests.waiting import wait_until


def fail_to(holdfast: Holdfast, request: GateRequest | UngateRequest, image: Path) -> None:
    """Carry it out; what was prepared in this image is lost before it is mounted."""

    def checkpoint(place: str) -> None:
        if place == "before remount":
            truncate_to_zero(image)

    found = holdfast.restorations.assess(request)
    with pytest.raises(HoldfastError):
        perform(holdfast.settings, holdfast.catalog, found, checkpoint=checkpoint)
    assert holdfast.restorations.in_progress(request.volume) is None
    assert holdfast.receipts(request.volume)[0].outcome.startswith("undone")
    assert holdfast.recover() == []


def test_the_gate_does_not_start(settings: Settings, ram_directory: Path) -> None:
    image = make_image(ram_directory / "plain.img", size_bytes=64 << 20)
    legs = [ram_directory / f"{number}.img" for number in (1, 2)]
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        before = holdfast.catalog.volume("data")
        with application(path, ram_directory / "record") as running:
            request = GateRequest("data", tuple(f"file:{leg}" for leg in legs))
            fail_to(holdfast, request, legs[0])
            assert is_settled(running.pid)
            running.wait_for_more()
            assert running.verify() > 0
        assert holdfast.catalog.volume("data") == before
        assert holdfast.show_volume("data").state is VolumeState.HEALTHY
        assert not any(leg.exists() for leg in legs)
        assert not settings.gate_state_directory("data").exists()
        assert not settings.gate_run_directory("data").exists()


def test_the_plain_container_cannot_be_mounted(settings: Settings, ram_directory: Path) -> None:
    path, plain = ram_directory / "mnt", ram_directory / "plain.img"
    url = f"file:{ram_directory}/1.img"
    with Holdfast(settings) as holdfast:
        holdfast.create_volume(NewVolume("shop", 64 << 20, str(path), leg_urls=(url,)))
        try:
            before = holdfast.catalog.volume("shop")
            with application(path, ram_directory / "record") as running:
                fail_to(holdfast, UngateRequest("shop", f"file:{plain}"), plain)
                assert is_settled(running.pid)
                running.wait_for_more()
                assert running.verify() > 0
            assert holdfast.catalog.volume("shop") == before
            report = holdfast.show_volume("shop")
            assert (report.kind, report.state) == ("gated", VolumeState.HEALTHY)
            assert report.id == before.id
            assert not plain.exists()
        finally:
            holdfast.delete_volume("shop")


def test_the_gate_hangs_while_it_starts(settings: Settings, ram_directory: Path) -> None:
    """It is waited for until there is just time to go back: nobody stands beyond the deadline, past
    which the application would get errors."""
    image = make_image(ram_directory / "plain.img", size_bytes=64 << 20)
    served, shown = ram_directory / "served.img", ram_directory / "leg.img"
    with (
        FuseLeg(served, shown, 96 << 20) as leg,
        mounted(image, ram_directory / "mnt") as path,
        Holdfast(settings) as holdfast,
    ):
        holdfast.adopt_volume("data", str(path))
        request = GateRequest(
            "data", (leg.url,), hang_timeout_seconds=300.0, deadline_seconds=10.0, forced=True
        )

        def checkpoint(place: str) -> None:
            if place == "before remount":
                leg.hang()
            elif place == "after undoing freeze":
                leg.serve()

        with application(path, ram_directory / "record") as running:
            found = holdfast.restorations.assess(request)
            with pytest.raises(DeadlinePassed):
                perform(settings, holdfast.catalog, found, checkpoint=checkpoint)
            assert is_settled(running.pid)
            running.wait_for_more()
            assert running.verify() > 0
        assert holdfast.show_volume("data").state is VolumeState.HEALTHY
        assert holdfast.receipts("data")[0].outcome.startswith("undone")
        assert holdfast.recover() == []
        assert not settings.gate_run_directory("data").exists()


def test_its_agent_is_killed_while_the_gate_hangs(settings: Settings, ram_directory: Path) -> None:
    """Nobody waits for that gate any more: it ends by itself, and the next command starts one."""
    image = make_image(ram_directory / "plain.img", size_bytes=64 << 20)
    served, shown = ram_directory / "served.img", ram_directory / "leg.img"
    with (
        FuseLeg(served, shown, 96 << 20) as leg,
        mounted(image, ram_directory / "mnt") as path,
    ):
        with Holdfast(settings) as holdfast:
            holdfast.adopt_volume("data", str(path))

        def checkpoint(place: str) -> None:
            if place == "before remount":
                leg.hang()

        def change() -> None:
            with Holdfast(settings) as holdfast:
                request = GateRequest("data", (leg.url,), hang_timeout_seconds=300.0, forced=True)
                found = holdfast.restorations.assess(request)
                perform(settings, holdfast.catalog, found, checkpoint=checkpoint)

        with application(path, ram_directory / "record") as running:
            agent = forked(change)
            run_directory = settings.gate_run_directory("data")
            wait_until(lambda: read_counters(run_directory) is not None and leg.waiting() > 0)
            os.kill(agent, signal.SIGKILL)
            os.waitpid(agent, 0)
            wait_until(lambda: not lingering_processes(run_directory))
            leg.serve()
            with Holdfast(settings) as holdfast:
                [done] = holdfast.recover()
                assert done.endswith("was finished")
                assert holdfast.show_volume("data").state is VolumeState.HEALTHY
                assert is_settled(running.pid)
                running.wait_for_more()
                assert running.verify() > 0
        with Holdfast(settings) as holdfast:
            holdfast.detach_volume("data")
            holdfast.delete_volume("data")
