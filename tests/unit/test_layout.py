"""The house: what CONTRIBUTING.md says of files and names, held everywhere."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import holdfast

PRODUCT = Path(holdfast.__file__).parent
LONGEST_LINES = 400


def sources() -> list[Path]:
    """Every module of the product."""
    return sorted(PRODUCT.rglob("*.py"))


def test_no_file_takes_more_than_one_sitting() -> None:
    """A file that grows beyond it has two things in it."""
    compiled = [*PRODUCT.rglob("*.c"), *PRODUCT.rglob("*.h")]
    lengths = {path: len(path.read_text().splitlines()) for path in [*sources(), *compiled]}
    assert not {str(path): lines for path, lines in lengths.items() if lines > LONGEST_LINES}


def test_no_class_name_means_two_things() -> None:
    """Whoever reads a name finds one class by it."""
    places = defaultdict(list)
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(path.relative_to(PRODUCT)))
    assert not {name: where for name, where in places.items() if len(where) > 1}


def test_system_is_the_only_door_to_linux() -> None:
    """Calls that Python has no function for, and requests to drivers, are made there alone."""
    outside = [path for path in sources() if "system" not in path.relative_to(PRODUCT).parts[:1]]
    making = [
        f"{path.relative_to(PRODUCT)}:{node.lineno}"
        for path in outside
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Import) and any(each.name == "ctypes" for each in node.names))
        or (isinstance(node, ast.ImportFrom) and node.module == "ctypes")
        or (isinstance(node, ast.Attribute) and node.attr in ("ioctl", "CDLL"))
    ]
    assert making == []


def test_compiled_files_take_one_sitting_too() -> None:
    """As Python's."""
    files = [path for ending in ("*.c", "*.h") for path in PRODUCT.rglob(ending)]
    assert files
    assert not [path for path in files if len(path.read_text().splitlines()) > LONGEST_LINES]
