"""What a receipt tells beside what every receipt has, as a person reads it: no JSON, no Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from holdfast.model.size import format_size
from holdfast.model.time_text import milliseconds_text

_UNITS: dict[str, tuple[str, Callable[[float], str]]] = {
    "bytes": ("size", lambda number: format_size(int(number))),
    "ms": ("took", milliseconds_text),
    "seconds": ("took", lambda number: milliseconds_text(number * 1000)),
}
"""Of numbers whose names end so: what they are called where that is all of the name, and how they
are written, with the unit that fits."""

_MORE_BYTES = "(pages that a fork had left shared, and each process has for itself now)"


def detail_facts(key: str, value: Any) -> list[tuple[str, str]]:
    """Name and value for each line of a detail; none of one that is empty. Pure."""
    if key == "more_bytes":
        return [("more memory", f"{format_size(int(value))} {_MORE_BYTES}")]
    entries = value if isinstance(value, list | tuple) else [value]
    label, _ = _named(key, 0)
    names = [label, *[""] * len(entries)]
    return [(name, _named(key, each)[1]) for name, each in zip(names, entries, strict=False)]


def _named(key: str, value: Any) -> tuple[str, str]:
    """The name without its unit, and the value with it."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    name, _, unit = key.rpartition("_")
    if is_number and unit in _UNITS:
        alone, written = _UNITS[unit]
        return name.replace("_", " ") or alone, written(value)
    return key.replace("_", " "), _in_words(value)


def _in_words(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        groups = any(isinstance(each, Mapping) for each in value)
        words = (f"({_in_words(each)})" if groups else _in_words(each) for each in value)
        return "; ".join(words) or "none"
    if not isinstance(value, Mapping):
        return str(value)
    if {"subject", "verdict", "found"} <= value.keys():  # a finding
        return f"{value['subject']} ({value['verdict']}): {value['found']}"
    return ", ".join(f"{name} {words}" for name, words in map(_named, value, value.values()))
