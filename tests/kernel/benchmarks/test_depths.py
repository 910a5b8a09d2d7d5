"""The short form of the benchmark: a plain loop device and a volume, every load once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.depths.fio import LOADS
from benchmarks.depths.subjects import name_of
from benchmarks.subjects import COMPILED, PLAIN, PYTHON
from holdfast.gate.data import compiled
from tests.conftest import REPOSITORY


def test_every_load_runs_and_is_written_down(ram_directory: Path, tmp_path: Path) -> None:
    subject = name_of(1, "none", COMPILED if compiled.COMPILED else PYTHON)
    words = ("--quick", "--only=depths-ram", f"--ram={ram_directory}", f"--output={tmp_path}")
    subprocess.run(
        [sys.executable, "-m", "benchmarks", *words, f"--subject={PLAIN}", f"--subject={subject}"],
        check=True,
        cwd=REPOSITORY,
    )
    values = json.loads((tmp_path / "depths-ram.json").read_text())
    assert not values["missing"]
    for name in (PLAIN, subject):
        cells = [cell for cell in values["cells"] if cell["subject"] == name]
        assert len(cells) == len(LOADS)
        for cell in cells:
            (sample,) = cell["rounds"]
            assert sample["per_second"] > 0
            assert sample["p50_us"] <= sample["p99_us"] <= sample["p999_us"]
            assert (sample["server_us"] > 0) == (name == subject)
    assert (tmp_path / "depths-ram.png").stat().st_size
    assert not list(ram_directory.iterdir())
