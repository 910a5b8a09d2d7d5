"""Errors by their codes: for `holdfast explain`, and for whoever is told of one as JSON."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.errors import HoldfastError


def leaves(root: type[HoldfastError] = HoldfastError) -> Iterator[type[HoldfastError]]:
    """Yield every error that has a code, in the order of the tree."""
    if root.code:
        yield root
    for child in root.__subclasses__():
        yield from leaves(child)


def by_code(code: str) -> type[HoldfastError] | None:
    """The error class with this code, or None."""
    return next((leaf for leaf in leaves() if leaf.code == code.upper()), None)
