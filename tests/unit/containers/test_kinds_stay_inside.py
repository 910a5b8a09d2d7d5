"""Nobody outside `containers` asks which kind a container is: what they need is a trait."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from holdfast.containers import CONTAINERS

PRODUCT = Path(__file__).parents[3] / "holdfast"
PREFIXES = tuple(f"{kind}:" for kind in CONTAINERS)


def _is_kind(node: ast.AST) -> bool:
    """A kind's name, the beginning of its URLs, or a collection of such."""
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return any(map(_is_kind, node.elts))
    return isinstance(node, ast.Constant) and node.value in (*CONTAINERS, *PREFIXES)


def _asks(tree: ast.AST) -> Iterator[int]:
    """Lines that compare with a kind, or build a URL by hand."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and any(map(_is_kind, (node.left, *node.comparators))):
            yield node.lineno
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in ("startswith", "removeprefix") and any(map(_is_kind, node.args)):
                yield node.lineno
        elif isinstance(node, ast.JoinedStr) and _is_kind(node.values[0]):
            yield node.lineno


def test_nobody_else_asks() -> None:
    asking = [
        f"{path.relative_to(PRODUCT)}:{line}"
        for path in sorted(PRODUCT.rglob("*.py"))
        if path.parent.name != "containers"
        for line in _asks(ast.parse(path.read_text()))
    ]
    assert asking == []


def test_it_would_be_seen() -> None:
    for code in (
        'x.kind == "file"',
        'url.startswith("block:")',
        'url.startswith(("file:", "block:"))',
        'f"file:{path}"',
        'kind not in ("block", "file")',
    ):
        assert list(_asks(ast.parse(code))) == [1], code
