"""A test that failed among the others is run once more, alone, when all are through.

With `--once-more` (as `make test` has it). One that passes then is no failure of the run, and no
success: the summary names it under "unsteady", and it is to be mended. One that fails twice fails
the run. Must never hide anything else that speaks against the run: only failures of tests are
forgiven.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

MOST_TESTS = 20
"""More than that do not fail by chance: they are not tried again."""


class OnceMore:
    """Sits in the process that gives the summary, never in one of xdist's workers."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._failed: list[str] = []
        self._unsteady: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note who failed, in whatever phase."""
        if report.failed and report.nodeid not in self._failed:
            self._failed.append(report.nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Every worker has ended: run those again, one at a time."""
        if session.exitstatus != pytest.ExitCode.TESTS_FAILED or not self._failed:
            return
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        assert reporter is not None
        failures = [*reporter.stats.get("failed", []), *reporter.stats.get("error", [])]
        if len(self._failed) > MOST_TESTS or any(not _of_a_test(each) for each in failures):
            return
        self._unsteady = [name for name in self._failed if self._passes(name)]
        for kind in ("failed", "error"):
            reports = reporter.stats.pop(kind, [])
            for report in reports:
                now = "unsteady" if report.nodeid in self._unsteady else kind
                reporter.stats.setdefault(now, []).append(report)
        if len(self._unsteady) == len(self._failed):
            session.exitstatus = pytest.ExitCode.OK

    def _passes(self, name: str) -> bool:
        command = [sys.executable, "-m", "pytest", "--numprocesses=0", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*command, name], cwd=self._config.rootpath, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            print(f"\n{name} failed again, alone:\n{done.stdout}\n{done.stderr}")
        return done.returncode == 0

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Name them, with what they said when they failed."""
        for report in terminalreporter.stats.get("unsteady", []):
            terminalreporter.section(f"unsteady: {report.nodeid}")
            terminalreporter.write_line(str(report.longrepr))
        if self._unsteady:
            terminalreporter.section("unsteady")
            for name in self._unsteady:
                terminalreporter.write_line(f"unsteady {name}: it passed when it ran alone")


def _of_a_test(report: object) -> bool:
    """False for what could not even be collected."""
    return isinstance(report, pytest.TestReport)
