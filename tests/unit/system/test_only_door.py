"""Only holdfast/system calls the C library: everybody else goes through its functions."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import holdfast

PACKAGE = Path(holdfast.__file__).parent
DOORS = {"ctypes", "cffi", "holdfast.system.raw_call"}
"""Ways into the kernel by hand."""


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports, anywhere in it; of `a.b` also `a`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from (alias.name, alias.name.partition(".")[0])
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (node.module, node.module.partition(".")[0])


def test_nobody_else_calls_the_c_library() -> None:
    outside = [path for path in PACKAGE.rglob("*.py") if PACKAGE / "system" not in path.parents]
    strangers = [
        str(path.relative_to(PACKAGE)) for path in outside if DOORS.intersection(imported(path))
    ]
    assert strangers == [], "give holdfast/system a function for what they need"
