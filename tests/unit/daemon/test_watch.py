"""What of its own work fails is said once, and again when it has worked in between."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.daemon.watch import Watch
from holdfast.policy.memory import folder_of, write_destinations
from holdfast.service import Holdfast


def test_a_failure_that_comes_again_is_said_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HOLDFAST_HOME", str(tmp_path))
    with Holdfast(Settings()) as holdfast:
        state = holdfast.settings.state_directory
        watch = Watch(holdfast)

        def said() -> int:
            watch.try_to_look()
            words = [each.getMessage() for each in caplog.records]
            return sum("nobody was told" in each for each in words)

        write_destinations(state, ())
        assert said() == 0
        (folder_of(state) / "destinations.json").write_text("damaged")
        assert said() == 1
        assert said() == 1
        write_destinations(state, ())
        assert said() == 1
        (folder_of(state) / "destinations.json").write_text("damaged")
        assert said() == 2
