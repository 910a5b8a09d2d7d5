"""What came of one pytest, as JSON, for whoever started several: `-p tests.tally --tally=FILE`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

OUTCOMES = ("failed", "passed", "skipped", "error")
"""In the order of pytest's own last line."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--tally", type=Path, metavar="FILE", help="write what came of the tests")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """For each outcome the tests, with the reason of those that were skipped."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    path = session.config.getoption("--tally")
    if reporter is None or path is None:
        return
    found = {
        kind: [[report.nodeid, _reason(report)] for report in reporter.stats.get(kind, [])]
        for kind in OUTCOMES
    }
    path.write_text(json.dumps(found), encoding="utf-8")


def _reason(report: object) -> str:
    told = getattr(report, "longrepr", None)
    return str(told[2]).removeprefix("Skipped: ") if isinstance(told, tuple) else ""
