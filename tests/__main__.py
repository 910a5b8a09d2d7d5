"""Every test, in two runs of pytest, and one line for both: `python -m tests [WORDS FOR PYTEST]`.

First those that work on the real kernel. They fork all the time, and a fork costs what its process
has in memory: tests/unit and the libraries that only they load would nearly double it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

from tests.tally import OUTCOMES

TESTS = Path(__file__).parent
UNIT = TESTS / "unit"
WIDTH = 80


def main(words: list[str]) -> int:
    """Exit status of the first run that did not pass, else 0."""
    others = [each for each in sorted(TESTS.iterdir()) if each != UNIT and _has_tests(each)]
    totals = dict.fromkeys((*OUTCOMES, "seconds"), 0.0)
    statuses = []
    with tempfile.TemporaryDirectory() as place:
        tally = Path(place, "tally")
        for part in (others, [UNIT]):
            tally.write_text("{}", encoding="utf-8")
            command = [sys.executable, "-m", "pytest", f"--tally={tally}", *words]
            statuses.append(subprocess.run([*command, *map(str, part)], check=False).returncode)
            for kind, number in json.loads(tally.read_text(encoding="utf-8")).items():
                totals[kind] += number
    print(_line(totals), flush=True)
    return next((status for status in statuses if status != 0), 0)


def _has_tests(folder: Path) -> bool:
    return next(folder.rglob("test_*.py"), None) is not None


def _line(totals: dict[str, float]) -> str:
    """As pytest ends."""
    counted = ", ".join(f"{totals[kind]:.0f} {kind}" for kind in OUTCOMES if totals[kind])
    seconds = totals["seconds"]
    text = f" {counted or 'no tests ran'} in {seconds:.2f}s ({timedelta(seconds=int(seconds))}) "
    return text.center(WIDTH, "=")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
