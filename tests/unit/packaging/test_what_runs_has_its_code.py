"""Processes that outlive an upgrade of their files in place have loaded what they will need."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.system.processes.installed import installed_python

LASTING = ["holdfast.gate.__main__", "holdfast.applications.freezers.__main__"]
"""New programs that live as long as a volume is attached, or its users stand still."""

_PROGRAM = (
    "import importlib, sys; importlib.import_module(sys.argv[1]);"
    "print('\\n'.join(m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'holdfast'))"
)


@pytest.mark.parametrize("program", LASTING)
def test_no_module_of_ours_is_loaded_later(program: str) -> None:
    said = subprocess.run(
        [sys.executable, "-c", _PROGRAM, program], check=True, capture_output=True, text=True
    )
    later = []
    for path in map(Path, said.stdout.split()):
        if path.suffix != ".py":
            continue
        tree = ast.parse(path.read_text())
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                for node in ast.walk(function):
                    if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("holdf"):
                        later.append(f"{path}:{node.lineno}")
    assert not later


def version(root: Path, name: str) -> Path:
    """Make one; its interpreter."""
    python = root / "versions" / name / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch(mode=0o755)
    return python


def test_the_installed_interpreter(tmp_path: Path) -> None:
    old, new = version(tmp_path, "1"), version(tmp_path, "2")
    assert installed_python(str(old)) == str(old)
    (tmp_path / "current").symlink_to("versions/2")
    assert installed_python(str(old)) == str(new)
    assert installed_python("/usr/bin/python3") == "/usr/bin/python3"
    assert installed_python("python3") == "python3"
    new.chmod(0o644)
    assert installed_python(str(old)) == str(old)
    new.unlink()
    assert installed_python(str(old)) == str(old)
