"""A test that fails by chance is named and forgiven once; one that fails twice is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

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
ABSENT = "import nothing"
SKIPPED = "import pytest\ndef test_skipped(): pytest.skip('no such thing here')\n"
GONE = "import os\ndef test_gone(): os._exit(0)\n"
RUN = """
import sys
from pathlib import Path
from tests.__main__ import run
sys.exit(run(Path('.'), sys.argv[1:], 2))
"""


def run_in(root: Path, tests: tuple[str, ...], *words: str) -> subprocess.CompletedProcess[str]:
    """Run tests that lie in rooms of their own."""
    (root / "pytest.ini").write_text("[pytest]\n")
    for room, text in zip(("unit", "kernel", "resume"), tests, strict=False):
        (root / "tests" / room).mkdir(parents=True)
        (root / "tests" / room / f"test_{room}.py").write_text(text)
    return subprocess.run(
        [sys.executable, "-c", RUN, *words],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("tests", "status", "last"),
    [
        ((SKIPPED, UNSTEADY), 0, "1 passed, 1 skipped, 1 unsteady"),
        ((BROKEN, ABSENT, GONE), 1, "1 failed, 1 passed, 2 error, 1 unsteady"),
    ],
)
def test_what_passes_alone_is_unsteady(
    tmp_path: Path, tests: tuple[str, ...], status: int, last: str
) -> None:
    done = run_in(tmp_path, tests)
    assert done.returncode == status, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1].strip("= ").startswith(f"{last} in "), done.stdout
    assert ("SKIPPED [1] no such thing here" in lines) is (SKIPPED in tests)
    assert "::test_by_chance: it passed when it ran alone" in done.stdout


def test_paths_choose_and_other_words_are_for_pytest(tmp_path: Path) -> None:
    two = "def test_one(): pass\ndef test_other(): pass\n"
    done = run_in(tmp_path, (two, BROKEN, two), "tests/unit", "tests/resume", "-k", "one")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].strip("= ").startswith("2 passed in "), done.stdout


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
