"""The compiled code, built with every warning as an error, under sanitizers, with damaged input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import holdfast.gate.data

REQUEST, FAILED, FLUSH_FAILED, ANSWERED = range(4)
"""See enum result there."""

SOURCE = Path(holdfast.gate.data.__file__).parent / "c" / "fast_path.c"
ROUNDS = 2_000_000 if os.environ.get("HOLDFAST_SOAK") else 5_000
_STRICT = ("-std=gnu11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")
_SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-O1")


def test_damaged_requests_pages_and_plans(tmp_path: Path) -> None:
    module = tmp_path / "_fast_path.so"
    include = f"-I{sysconfig.get_paths()['include']}"
    _run("cc", *_STRICT, *_SANITIZERS, include, "-o", str(module), str(SOURCE))
    library = _run("cc", "-print-file-name=libasan.so").strip()
    told = _run(
        sys.executable,
        *("-m", "tests.plugs.fuzz_fast_path", str(module), str(ROUNDS), "1"),
        # The interpreter itself was not built for this.
        environment={"LD_PRELOAD": library, "ASAN_OPTIONS": "detect_leaks=0"},
    )
    found = json.loads(told)
    assert found["answered"] > ROUNDS // 200, "it was to be damaged now and then, not always"
    assert found["results"] == [REQUEST, FAILED, FLUSH_FAILED, ANSWERED]


def test_what_is_built_has_no_warning(tmp_path: Path) -> None:
    include = f"-I{sysconfig.get_paths()['include']}"
    _run("cc", *_STRICT, "-O2", include, "-o", str(tmp_path / "out.so"), str(SOURCE))


def _run(*command: str, environment: dict[str, str] | None = None) -> str:
    found = subprocess.run(
        command,
        env={**os.environ, **(environment or {})},
        cwd=Path(__file__).parents[4],
        capture_output=True,
        text=True,
        check=False,
    )
    assert not found.returncode, found.stderr[-4000:]
    return found.stdout
