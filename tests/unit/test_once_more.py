"""A test that fails by chance is named and forgiven once; one that fails twice is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

CONFTEST = f"""
import sys
sys.path.insert(0, {str(REPOSITORY)!r})
from tests.once_more import OnceMore
def pytest_configure(config):
    import os
    if "PYTEST_XDIST_WORKER" not in os.environ and os.environ.pop("ONCE_MORE", ""):
        config.pluginmanager.register(OnceMore(config), "once-more")
"""

UNSTEADY = """
from pathlib import Path
def test_steady(): pass
def test_by_chance():
    seen = Path(__file__).with_name("seen")
    if not seen.exists():
        seen.touch()
        raise AssertionError("by chance")
"""

BROKEN = UNSTEADY + "\ndef test_broken(): assert not 'broken'\n"


@pytest.mark.parametrize(
    ("tests", "status", "processes"),
    [(UNSTEADY, 0, "2"), (BROKEN, 1, "0"), ("import nothing", 2, "0")],
)
def test_what_passes_alone_is_unsteady(
    tmp_path: Path, tests: str, status: int, processes: str
) -> None:
    environment = {**os.environ, "ONCE_MORE": "1"}
    for name in [name for name in environment if name.startswith("PYTEST_XDIST")]:
        del environment[name]
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_it.py").write_text(tests)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", processes, "-p", "no:cacheprovider", "."],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode != 0) is (status != 0), done.stdout
    if status != 2:
        assert "unsteady test_it.py::test_by_chance: it passed when it ran alone" in done.stdout
        assert "1 unsteady" in done.stdout.splitlines()[-1]
        assert ("1 failed" in done.stdout.splitlines()[-1]) is (status == 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_program_hears_signals_that_the_run_ignores(number: signal.Signals) -> None:
    program = (
        f"import sys, signal, subprocess, os; sys.path.insert(0, {str(REPOSITORY)!r});"
        "from tests.signals import let_children_hear_signals as hear; hear();"
        f"os.kill(os.getpid(), {int(number)});"
        f"child = subprocess.run(['sh', '-c', 'kill -{int(number)} $$; echo heard nothing']);"
        f"sys.exit(child.returncode != -{int(number)})"
    )
    done = subprocess.run(
        ["env", f"--ignore-signal={number.name[3:]}", sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
