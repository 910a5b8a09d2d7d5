"""A gate's state changes places with another one; killed between the two renames it comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.restoration.storage.directory import NEW_GATE, OLD_GATE, directory_of
from holdfast.restoration.storage.old_and_new import put_new_gate_in_place, put_old_gate_back


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_put_back_after_any_of_the_renames(tmp_path: Path, renames: int) -> None:
    settings = Settings(home=tmp_path)
    place, folder = settings.gate_state_directory("shop"), directory_of(settings, "1")
    for directory, words in ((place, "old"), (folder / NEW_GATE, "new")):
        directory.mkdir(parents=True)
        (directory / "gate.json").write_text(words)
    if renames == 1:
        place.rename(folder / OLD_GATE)
    elif renames == 2:
        put_new_gate_in_place(settings, "1", "shop")
        assert (place / "gate.json").read_text() == "new"
    put_old_gate_back(settings, "1", "shop")
    assert (place / "gate.json").read_text() == "old"
    assert (folder / NEW_GATE / "gate.json").read_text() == "new"
