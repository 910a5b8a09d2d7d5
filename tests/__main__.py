"""Every test: `python -m tests [--processes N] [PATHS] [WORDS FOR PYTEST]`, as `make test` has it.

A few files at a time go to a pytest of their own, some of those run side by side. Tests on the real
kernel fork all the time, and a fork costs what its process has in memory: one that collects every
test has 116 MB and grows to 200, one with ten files has 35.

A test that failed is run once more, alone, when all are through. One that passes then is no failure
of the run, and no success: it is named "unsteady", and is to be mended.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
if str(REPOSITORY) not in sys.path:
    sys.path.insert(0, str(REPOSITORY))

from holdfast.errors import HoldfastError  # noqa: E402
from holdfast.system.storage.loop import detach_loop  # noqa: E402
from tests.leftovers import orphaned_loop_devices  # noqa: E402
from tests.tally import OUTCOMES  # noqa: E402

FILES_OF_A_PART = 10
"""With fewer, starting pytest costs more than its small memory saves."""

PART_SECONDS = 1200.0
"""Each test has a time limit of its own; this is for a process that does not end."""

LAST = ("kernel", "package", "unit")
"""The longest first: who has the last one runs alone."""

MOST_ONCE_MORE = 20
"""More than that do not fail by chance: they are not tried again."""

WIDTH = 80


@dataclass
class Result:
    """What came of one pytest."""

    files: Sequence[str]
    output: str
    tests: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """By outcome: the tests, and why they were skipped."""

    def names(self, *outcomes: str) -> list[str]:
        """The tests with one of these outcomes, each once."""
        return list(dict.fromkeys(name for kind in outcomes for name, _ in self.tests[kind]))

    def line(self) -> str:
        """What is said of it while the others run."""
        counts = Counter({kind: len(tests) for kind, tests in self.tests.items()})
        first, last = (Path(self.files[index]).relative_to("tests") for index in (0, -1))
        where = str(first) if first == last else f"{first} … {last.name}"
        return f"{_counted(counts)}: {where}"


def run(root: Path, words: Sequence[str], processes: int) -> int:
    """Run the tests below `root`/tests, tell how it goes, and return the exit status. Those of
    `words` that are paths below `root` choose tests, the others are for pytest."""
    begun = time.monotonic()
    paths = [word for word in words if (root / word).exists()]
    parts = list(_parts(root, paths or ["tests"]))
    results = []
    with (
        tempfile.TemporaryDirectory(prefix="hf-t-") as place,
        ThreadPoolExecutor(processes) as pool,
    ):
        pytests = _Pytests(root, Path(place), [word for word in words if word not in paths])
        try:
            for ended in as_completed([pool.submit(pytests.run, part) for part in parts]):
                results.append(result := ended.result())
                print(f"[{len(results)}/{len(parts)}] {result.line()}", flush=True)
                if result.names("failed", "error"):
                    print(result.output, flush=True)
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        failed = [name for result in results for name in result.names("failed", "error")]
        unsteady = _passing_alone(pytests, failed) if len(failed) <= MOST_ONCE_MORE else []
    counts = Counter({kind: sum(len(each.tests[kind]) for each in results) for kind in OUTCOMES})
    _summary(results, [name for name in failed if name not in unsteady], unsteady)
    for result in results:
        for kind in ("failed", "error"):
            counts[kind] -= sum(name in unsteady for name, _ in result.tests[kind])
    counts["unsteady"] = len(unsteady)
    print(_last_line(counts, time.monotonic() - begun), flush=True)
    return int(len(failed) > len(unsteady))


def _parts(root: Path, paths: Sequence[str]) -> Iterator[list[str]]:
    """The files of tests in or at these paths, a few that lie together at a time."""
    wanted = [root / path for path in paths]
    rooms: dict[str, list[str]] = {}
    for path in sorted(root.glob("tests/**/test_*.py")):
        if not any(path.is_relative_to(each) for each in wanted):
            continue
        name = path.relative_to(root)
        rooms.setdefault(name.parts[1], []).append(str(name))
    for room in sorted(rooms, key=lambda room: (LAST.index(room) if room in LAST else -1, room)):
        for first in range(0, len(rooms[room]), FILES_OF_A_PART):
            yield rooms[room][first : first + FILES_OF_A_PART]


class _Pytests:
    """Starts one after the other, each with folders of its own."""

    def __init__(self, root: Path, place: Path, words: Sequence[str]) -> None:
        self._root = root
        self._place = place
        self._words = words

    def run(self, names: Sequence[str]) -> Result:
        """Wait for the tests of these files, or these tests. May be called from any thread."""
        folder = Path(tempfile.mkdtemp(dir=self._place))
        tally = folder / "tally"
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "tests.tally"]
        command += [f"--tally={tally}", f"--basetemp={folder / 't'}", *self._words, *names]
        status = None
        output = folder / "output"  # not a pipe: somebody may be left who has it open
        with output.open("wb") as writing, suppress(subprocess.TimeoutExpired):
            status = subprocess.run(
                command,
                cwd=self._root,
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=subprocess.STDOUT,
                check=False,
                timeout=PART_SECONDS,
            ).returncode
        told = json.loads(tally.read_text(encoding="utf-8")) if tally.exists() else {}
        tests = {kind: told.get(kind, []) for kind in OUTCOMES}
        result = Result(names, output.read_text(encoding="utf-8", errors="replace"), tests)
        if (status != 0 or not told) and not result.names("failed", "error"):
            result.tests["error"] = [(name, "") for name in names]  # it did not say of which
        return result


def _passing_alone(pytests: _Pytests, failed: Sequence[str]) -> list[str]:
    unsteady = []
    for name in failed:
        result = pytests.run([name])
        if result.names("failed", "error"):
            print(f"\n{name} failed again, alone:\n{result.output}", flush=True)
        else:
            unsteady.append(name)
    return unsteady


def _summary(results: Sequence[Result], failed: Sequence[str], unsteady: Sequence[str]) -> None:
    reasons = Counter(reason for result in results for _, reason in result.tests["skipped"])
    print(" short test summary info ".center(WIDTH, "="))
    for reason, number in reasons.items():
        print(f"SKIPPED [{number}] {reason}")
    for name in failed:
        print(f"FAILED {name}")
    for name in unsteady:
        print(f"UNSTEADY {name}: it passed when it ran alone")


def _counted(counts: Counter[str]) -> str:
    kinds = [kind for kind in (*OUTCOMES, "unsteady") if counts[kind]]
    return ", ".join(f"{counts[kind]} {kind}" for kind in kinds) or "no tests ran"


def _last_line(counts: Counter[str], seconds: float) -> str:
    """As pytest ends."""
    text = f" {_counted(counts)} in {seconds:.2f}s ({timedelta(seconds=int(seconds))}) "
    return text.center(WIDTH, "=")


def main(arguments: Sequence[str] | None = None) -> int:
    """Every test of the project; also fails where a loop device is left that nobody owns."""
    parser = argparse.ArgumentParser(
        prog="python -m tests", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--processes", type=int, default=4, help="pytests side by side")
    options, words = parser.parse_known_args(arguments)
    before = orphaned_loop_devices()
    status = run(REPOSITORY, words, options.processes)
    if not os.environ.get("CI"):
        return status  # somebody else may work here, and whose they are cannot be told
    for loop in orphaned_loop_devices() - before:
        print(f"left behind: {loop.device} of a file that was unmounted lazily", flush=True)
        status = status or 1
        with suppress(HoldfastError):
            detach_loop(loop)
    return status


if __name__ == "__main__":
    sys.exit(main())
