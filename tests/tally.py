"""What came of one part of the tests, for whoever adds the parts up: `--tally FILE`."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

OUTCOMES = ("failed", "passed", "skipped", "unsteady", "error")
"""In the order of pytest's own last line."""


class Tally:
    """Sits in the process that gives the summary; writes when the summary is through."""

    def __init__(self, config: pytest.Config, path: Path) -> None:
        self._config = config
        self._path = path
        self._begun = time.monotonic()

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """Outcomes and seconds, as JSON."""
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        assert reporter is not None
        found: dict[str, float] = {kind: len(reporter.stats.get(kind, [])) for kind in OUTCOMES}
        found["seconds"] = time.monotonic() - self._begun
        self._path.write_text(json.dumps(found), encoding="utf-8")
