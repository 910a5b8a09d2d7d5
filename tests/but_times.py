"""What is told of legs but how long requests took, which changes all the time: `but_times`."""

from __future__ import annotations

from typing import Any


def but_times(legs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As a gate or `volume show` tells of them."""
    return [{key: value for key, value in each.items() if key != "times"} for each in legs]
