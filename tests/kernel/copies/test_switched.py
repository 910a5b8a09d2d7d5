"""A copy and a leg change places, and back, under somebody who writes and checks what he reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.config import Settings
from holdfast.errors import ContainerFailed, InvalidOption, Unreachable
from holdfast.gate.outside.client import GateClient
from holdfast.service import Holdfast
from tests.kernel.conftest import settings  # noqa: F401 - a fixture
from tests.kernel.copies.copied import image_at, stood
from tests.kernel.copies.lost import GentleWriter
from tests.kernel.gate.kept_volume import made, succeed
from tests.kernel.volume.stack import SIZE
from tests.resume.verifying import check_filesystem


@pytest.fixture(name="holdfast")
def _holdfast(settings: Settings) -> Iterator[Holdfast]:  # noqa: F811
    with Holdfast(settings) as holdfast:
        yield holdfast


def test_there_and_back(holdfast: Holdfast, ram_directory: Path) -> None:
    """Nobody sees an error; what was the leg is a copy from which every later moment can be had;
    after two times everything is where it was."""
    switches, copies = holdfast.histories.switches, holdfast.histories.copies
    first, second = ram_directory / "shop.img", ram_directory / "copy.img"
    with made(holdfast, ram_directory) as mount:
        holdfast.histories.keep("shop", str(ram_directory / "history"), None, None)
        copy = copies.add("shop", f"file:{second}")
        holdfast.histories.following.set("shop", copy.id, 3600.0)
        with GentleWriter(mount / "blocks") as writer:
            for leg, other in ((first, second), (second, first)):
                writer.go_on()
                receipt = switches.switch("shop")
                assert receipt.errors_returned == 0
                writer.go_on()
                report = holdfast.show_volume("shop")
                assert [each.url for each in report.legs] == [f"file:{other}"]
                assert holdfast.catalog.volume("shop").leg_urls == (f"file:{other}",)
                (listed,) = holdfast.histories.following.listed("shop")
                assert (listed.copy.url, listed.state) == (f"file:{leg}", "usable")
                assert listed.following is not None
                if other == second:
                    succeed(holdfast.settings.gate_run_directory("shop"))
        writer.check()
        position, then = stood(holdfast, mount, ram_directory)
        (copy,) = copies.records.all()
        assert copy.url == f"file:{second}"
        data = image_at(copy, ram_directory / "history", position, ram_directory)
        assert data[:SIZE] == then  # behind it is what was the tail of a leg
        (stretch,) = holdfast.histories.show("shop").stretches
        assert stretch.end is None
        with pytest.raises(InvalidOption):
            switches.switch("shop", leg="9")
        # One that cannot be filled stays a copy, and the leg a leg.
        holdfast.legs.add("shop", f"file:{ram_directory}/third.img")
        with pytest.raises(InvalidOption, match="say which"):
            switches.switch("shop")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(GateClient, "join_copy", _refused)
            with pytest.raises(ContainerFailed):
                switches.switch("shop", leg="file:" + str(ram_directory / "third.img"))
        assert [each.is_complete for each in copies.records.all()] == [True]
        # What the ring does not keep any more is brought on while requests wait.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(GateClient, "join_copy", _lost_once(GateClient.join_copy))
            switches.switch("shop", leg="file:" + str(ram_directory / "third.img"))
        gate = holdfast.show_volume("shop").gate
        assert gate is not None
        assert not gate.held
        urls = [each.url for each in holdfast.show_volume("shop").legs]
        assert urls == [f"file:{first}", f"file:{second}"]
        holdfast.detach_volume("shop")
        assert first.read_bytes()[:SIZE] == second.read_bytes()[:SIZE]
        check_filesystem(second, "ext4")
        holdfast.attach_volume("shop")
        writer.check()
        copies.remove("shop", f"file:{ram_directory}/third.img")


def _refused(*_: object, **__: object) -> None:
    raise ContainerFailed("its storage fails", "Look at it.")


def _lost_once(join: Callable[..., Any]) -> Callable[..., Any]:
    """As that, but the ring has lost something when it is called for the first time."""
    calls: list[str] = []

    def joined(*values: Any) -> Any:
        calls.append("")
        if len(calls) == 1:
            raise Unreachable("the ring does not reach back to it", "Bring it on.")
        gate: GateClient = values[0]
        assert gate.show()["held_on_purpose"]
        return join(*values)

    return joined
