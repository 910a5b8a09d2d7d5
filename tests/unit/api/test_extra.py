"""Only who serves loads what serving takes; where that is not installed, it is named."""

from __future__ import annotations

import subprocess
import sys

LIBRARIES = {"fastapi", "starlette", "uvicorn", "pydantic", "httpx"}


def test_commands_load_none_of_it() -> None:
    program = "import sys, holdfast.cli.application, holdfast.service.seen; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert not LIBRARIES & set(loaded.stdout.split())


def test_the_missing_library_is_named() -> None:
    program = (
        "import sys; sys.modules['uvicorn'] = None\n"
        "from holdfast.cli.application import run\n"
        "import holdfast.service.rights as rights; rights.os.geteuid = lambda: 0\n"
        "sys.exit(run(['api']))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True
    )
    assert ended.returncode == 5
    assert "error[TOOL]" in ended.stderr and "holdfast[api]" in ended.stderr
