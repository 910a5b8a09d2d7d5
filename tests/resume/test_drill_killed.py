"""Whoever makes a drill is killed anywhere: `recover`, or the next one, leaves nothing of it."""

from __future__ import annotations

from pathlib import Path

from holdfast.config import Settings
from holdfast.service import DrillRequest, Holdfast, perform
from tests.kernel.conftest import settings  # noqa: F401 - a fixture
from tests.kernel.gate.kept_volume import write
from tests.resume.test_copy_killed import _kept, _killed_at_each  # noqa: F401 - a fixture


def test_wherever_it_is(
    settings: Settings,  # noqa: F811
    kept: Path,
    ram_directory: Path,
) -> None:
    url = f"file:{ram_directory}/copy.img"
    with Holdfast(settings) as holdfast:
        holdfast.histories.copies.add("shop", url)
    write(kept, 5)
    names = {each.name for each in ram_directory.iterdir()}

    def drill(holdfast: Holdfast) -> object:
        return perform(holdfast, DrillRequest("shop"))

    for number, _ in enumerate(_killed_at_each(settings, drill)):
        with Holdfast(settings) as holdfast:
            if number % 2:
                holdfast.recover()
                assert {each.name for each in ram_directory.iterdir()} == names
                assert len(holdfast.histories.copies.show()) == 1
    with Holdfast(settings) as holdfast:
        assert {each.name for each in ram_directory.iterdir()} == names
        (receipt,) = holdfast.catalog.receipts("shop", strategy="drill")
        assert receipt.outcome.startswith("done"), receipt.outcome
        assert holdfast.histories.copies.remove("shop", url)
