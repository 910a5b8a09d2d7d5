"""What can be typed: durations, sizes, and the options that several commands share."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from holdfast.errors import InvalidOption
from holdfast.model.size import parse_size
from holdfast.model.volume import check_name

_UNIT_SECONDS = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*(ms|s|m|h|d|)", re.ASCII)

LONGEST_SECONDS = 366 * 86400.0
"""A year: longer holds are typing mistakes, and keep clock arithmetic far from its limits."""


def parse_duration(text: str | float) -> float:
    """Seconds of a duration such as `30s`, `10m`, `1.5h`, `500ms` or `0`. Raises InvalidOption."""
    if isinstance(text, int | float):
        return float(text)  # Typer passes defaults through the parser as well
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise InvalidOption(
            f"{text!r} is not a duration", "Write a number and a unit: 500ms, 30s, 10m, 1h, or 0."
        )
    seconds = float(match[1]) * _UNIT_SECONDS[match[2]]
    if seconds > LONGEST_SECONDS:
        raise InvalidOption(f"{text} is too long", "The longest duration is 366d.")
    return seconds


def positive_duration(text: str | float) -> float:
    """Like `parse_duration`, but not zero. Raises InvalidOption."""
    seconds = parse_duration(text)
    if seconds <= 0:
        raise InvalidOption(
            f"{text} is not longer than zero", "Write a duration above zero, e.g. 5s."
        )
    return seconds


VolumeName = Annotated[
    str, typer.Argument(metavar="NAME", parser=check_name, help="Name of the volume.")
]
LegName = Annotated[
    str, typer.Argument(metavar="LEG", help="Number, id or URL of the leg (see volume show).")
]
LegUrl = Annotated[
    str,
    typer.Argument(
        metavar="URL", help="A container, e.g. file:/absolute/path.img or block:/dev/name."
    ),
]
SizeBytes = Annotated[
    int, typer.Argument(metavar="SIZE", parser=parse_size, help="New size, e.g. 20G.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Plain JSON on standard output.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check everything, say what would be done, do nothing.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
