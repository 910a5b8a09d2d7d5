"""How long the long loops are: short by default, their full length with HOLDFAST_SOAK=1."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TypeVar

Case = TypeVar("Case")


def rounds(short: int, long: int) -> int:
    """`long` in a soak run, otherwise `short`."""
    return long if os.environ.get("HOLDFAST_SOAK") == "1" else short


def every_other(cases: Iterable[Case], first: int = 0) -> list[Case]:
    """All of them in a soak run, otherwise every second one from `first` on, which is 0 or 1."""
    return list(cases)[rounds(first, 0) :: rounds(2, 1)]
