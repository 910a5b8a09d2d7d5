"""A process that ends at one of many places, for tests that try each of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock


@contextmanager
def dying(at: int, calls: Sequence[tuple[Any, str]]) -> Iterator[None]:
    """This process ends at that place, counted from 0: before and after each of these calls, named
    by where each is found, is one. For a process of its own: they are never put back."""
    passed = 0

    def place() -> None:
        nonlocal passed
        if passed == at:
            os._exit(9)
        passed += 1

    def around(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*values: Any, **named: Any) -> Any:
            place()
            found = function(*values, **named)
            place()
            return found

        return call

    patches = [mock.patch.object(*each, around(getattr(*each))) for each in calls]
    for patch in patches:
        patch.start()
    yield
