"""Values that come from a file, a leg or a socket, bounded before they are used.

Whoever wrote them may be a stranger, another version, or a disk that failed. Invariant: what comes
out has exactly the types that a dataclass names, numbers fit where the kernel and the formats want
them, and every refusal is a ValueError, whatever was fed in. Pure.
"""

from __future__ import annotations

import errno
import json
import math
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache, partial
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from holdfast.late_dataclass import dataclass

MOST_BYTES = 16 << 20
"""Of a JSON text: the longest that we write, a record of many processes, has a tenth of it."""

MOST_NUMBER = (1 << 62) - 1
"""Sizes, offsets, positions and epochs: twice of it still fits into 64 bits with a sign."""

MOST_CHARACTERS = 64 << 10
"""Of one text: paths have 4096, options a page."""

MOST_DEPTH = 16
"""How deep a value may be nested; our own have six levels."""

T = TypeVar("T")


class NewerFormat(OSError):
    """It was written by a newer version of Holdfast: to be refused, and left as it is.

    An OSError, so that it counts like what cannot be read: never as nothing, which may be written
    over, and never as the older of two.
    """

    def __init__(self, what: str, found: int, known: int) -> None:
        super().__init__(
            errno.EPROTONOSUPPORT,
            f"{what} is of a newer version of Holdfast (format {found}, this one reads {known})",
        )


FIRST_VERSION = 1
"""Of a form whose records have no number as long as it is this one: version 0.1.0 of Holdfast
refuses keys that it does not know, and may still be running when a newer one writes."""


@dataclass(frozen=True)
class Bounds:
    """Bounds of a whole number, where the usual ones do not fit: Annotated[int, Bounds(…)]."""

    least: int
    most: int


Word = Annotated[int, Bounds(0, (1 << 64) - 1)]
"""What the kernel calls u64: addresses, inode numbers, registers, masks."""

HalfWord = Annotated[int, Bounds(0, (1 << 32) - 1)]
"""u32: owners, modes, masks of events."""

Signed = Annotated[int, Bounds(-(1 << 63), (1 << 63) - 1)]
"""s64: positions in files (loff_t), times in nanoseconds."""

SignedHalf = Annotated[int, Bounds(-(1 << 31), (1 << 31) - 1)]
"""s32: what is `int` in the kernel's structures."""

Number = Annotated[int, Bounds(0, (1 << 31) - 1)]
"""Of a process, a thread, a descriptor, a watch."""

_Converter = Callable[[Any, str], Any]
"""Gives a value the type of its field; the text is the field's name. Raises ValueError."""


@dataclass(frozen=True)
class _Fields:
    """The fields of a dataclass; the usual types are checked without a call for each field."""

    all: Mapping[str, tuple[_Converter, bool]]
    """With their converters, and whether they have a default."""
    numbers: Sequence[tuple[str, int, int, bool, _Converter]]
    """Whole ones: the least, the most, and whether it may be None."""
    texts: Sequence[tuple[str, _Converter]]
    others: Sequence[tuple[str, _Converter]]
    empty: Mapping[str, None]
    """All names, in order."""


_FIELDS: dict[type, _Fields] = {}


def read_json(text: bytes | str, most_bytes: int = MOST_BYTES) -> Any:
    """A JSON value of bounded length and depth. Raises ValueError, whatever the text is."""
    if len(text) > most_bytes:
        raise ValueError(f"{len(text)} bytes where {most_bytes} are enough")
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    _check_depth(value, MOST_DEPTH)
    return value


def read_object(text: bytes | str, most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """As `read_json`, for an object. Raises ValueError."""
    value = read_json(text, most_bytes)
    if not isinstance(value, dict):
        raise ValueError(f"{_called(value)} where an object must be")
    return value


def with_version(values: dict[str, Any], version: int) -> dict[str, Any]:
    """What is written down of these values in the form of that version; see FIRST_VERSION."""
    return values if version == FIRST_VERSION else {"version": version, **values}


def without_version(values: object, what: str, known: int) -> tuple[object, int]:
    """The values of such a record without its version, and the version.

    `what` names the record, `known` is the newest version that the caller can read. Raises
    NewerFormat, ValueError.
    """
    if not isinstance(values, Mapping) or "version" not in values:
        return values, FIRST_VERSION
    version = whole(values["version"], "version", FIRST_VERSION)
    if version > known:
        raise NewerFormat(what, version, known)
    return {name: value for name, value in values.items() if name != "version"}, version


def typed(kind: type[T], values: object) -> T:
    """The dataclass that these plain values describe; unknown and missing fields are refused.

    Raises ValueError that names the field.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{_called(values)} where {kind.__name__} must be")
    fields_of_kind = _FIELDS.get(kind) or _FIELDS.setdefault(kind, _fields_of(kind))
    known = fields_of_kind.all
    if values.keys() == known.keys():  # nearly always
        return made(kind, _all_fields(fields_of_kind, values))
    if not values.keys() <= known.keys():
        unknown = sorted(str(name) for name in values if name not in known)
        raise ValueError(f"{kind.__name__} has no {unknown[0][:40]!r}")
    found = {name: known[name][0](value, name) for name, value in values.items()}
    for name, (_, has_default) in known.items():
        if name not in found and not has_default:
            raise ValueError(f"{kind.__name__} lacks {name}")
    return kind(**found)


def _all_fields(known: _Fields, values: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = dict(known.empty)
    for name, least, most, is_optional, convert in known.numbers:
        value = values[name]
        is_right = (type(value) is int and least <= value <= most) or (
            is_optional and value is None
        )
        found[name] = value if is_right else convert(value, name)
    for name, convert in known.texts:
        value = values[name]
        is_right = type(value) is str and len(value) <= MOST_CHARACTERS
        found[name] = value if is_right else convert(value, name)
    for name, convert in known.others:
        found[name] = convert(values[name], name)
    return found


def made(kind: type[T], values: Mapping[str, Any]) -> T:
    """Construct one from the values of all fields, in order. Much faster than the constructor of a
    frozen dataclass; records have ten thousands of them."""
    value = object.__new__(kind)
    vars(value).update(values)
    if hasattr(kind, "__post_init__"):
        value.__post_init__()  # type: ignore[attr-defined]
    return value


def converted(hint: Any, value: object, name: str) -> Any:
    """The value as any type that a field can have. Raises ValueError that names it."""
    return _converter(hint)(value, name)


def whole(value: object, name: str, least: int = 0, most: int = MOST_NUMBER) -> int:
    """A whole number within bounds. Raises ValueError that names it."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{name}: {_called(value)} where a whole number must be")
    if not least <= value <= most:
        raise ValueError(f"{name} must be from {least} to {most}")
    return value


def seconds(value: object, name: str, most: float = 1e9) -> float:
    """A duration. Raises ValueError that names it."""
    number = _number(value, name)
    if not 0 <= number <= most:
        raise ValueError(f"{name} must be from 0 to {most:g} seconds")
    return number


def _fields_of(kind: type) -> _Fields:
    hints = get_type_hints(kind, include_extras=True)
    found = {
        each.name: (
            _converter(hints[each.name]),
            each.default is not MISSING or each.default_factory is not MISSING,
        )
        for each in fields(kind)
    }
    bounds = {name: _bounds_of(hints[name]) for name in found}
    return _Fields(
        all=found,
        numbers=[
            (name, each[0].least, each[0].most, each[1], found[name][0])
            for name, each in bounds.items()
            if each is not None
        ],
        texts=[(name, found[name][0]) for name in found if hints[name] is str],
        others=[
            (name, found[name][0])
            for name in found
            if bounds[name] is None and hints[name] is not str
        ],
        empty=dict.fromkeys(found),
    )


def _bounds_of(hint: Any) -> tuple[Bounds, bool] | None:
    """The bounds of a whole number, and whether it may be None; None: the type is another one."""
    if hint is int:
        return Bounds(-MOST_NUMBER, MOST_NUMBER), False
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return arguments[1], False
    if origin in (Union, types.UnionType) and len(arguments) == 2 and arguments[1] is type(None):
        within = _bounds_of(arguments[0])
        return None if within is None else (within[0], True)
    return None


@cache
def _converter(hint: Any) -> _Converter:
    """The converter for this type. Made once: records have ten thousands of values."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in (Any, object):
        return lambda value, name: value
    if origin is Annotated:
        return _whole_within(arguments[1])
    if origin in (Union, types.UnionType):
        kinds = [_converter(each) for each in arguments if each is not types.NoneType]
        either = kinds[0] if len(kinds) == 1 else partial(_one_of, kinds)
        if types.NoneType in arguments:
            return lambda value, name: None if value is None else either(value, name)
        return either
    if origin is list or arguments[1:] == (...,):
        return partial(_sequence, origin, _converter(arguments[0]))
    if origin is tuple:
        return partial(_entries, [_converter(each) for each in arguments])
    if origin is dict:
        return partial(_mapping, _converter(arguments[1]))
    if is_dataclass(hint):
        return lambda value, name: typed(hint, value)  # type: ignore[arg-type]
    if isinstance(hint, type) and issubclass(hint, Enum):
        return partial(_member, hint, dict(hint._value2member_map_))
    usual: dict[Any, _Converter] = {str: _text, int: _integer}
    return usual.get(hint) or partial(_plain, hint)


def _whole_within(bounds: Bounds) -> _Converter:
    least, most = bounds.least, bounds.most

    def converter(value: Any, name: str) -> Any:
        if type(value) is int and least <= value <= most:
            return value
        return whole(value, name, least, most)

    return converter


def _member(kind: type[Enum], members: Mapping[Any, Any], value: Any, name: str) -> Any:
    found = members.get(value) if isinstance(value, str) else None
    return kind(_plain(str, value, name)) if found is None else found


def _integer(value: Any, name: str) -> Any:
    if type(value) is int and -MOST_NUMBER <= value <= MOST_NUMBER:
        return value
    return _plain(int, value, name)


def _text(value: Any, name: str) -> Any:
    if type(value) is str and len(value) <= MOST_CHARACTERS:
        return value
    return _plain(str, value, name)


def _plain(hint: Any, value: Any, name: str) -> Any:
    if hint is float:
        return _number(value, name)
    if type(value) is not hint and (
        not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool)
    ):
        raise ValueError(f"{name}: {_called(value)} where {hint.__name__} must be")
    if hint is int and not -MOST_NUMBER <= value <= MOST_NUMBER:
        raise ValueError(f"{name} is beyond every bound")
    if hint is str and len(value) > MOST_CHARACTERS:
        raise ValueError(f"{name} has {len(value)} characters")
    return value


def _number(value: object, name: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError(f"{name}: {_called(value)} where a number must be")
    if isinstance(value, int):
        return float(whole(value, name, -MOST_NUMBER))
    if not math.isfinite(value):
        raise ValueError(f"{name} is not finite")
    return value


def _one_of(kinds: Sequence[_Converter], value: Any, name: str) -> Any:
    for converter in kinds:
        try:
            return converter(value, name)
        except ValueError as error:
            refusal = error
    raise refusal


def _mapping(converter: _Converter, value: Any, name: str) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name}: {_called(value)} where an object must be")
    return {key: converter(each, name) for key, each in value.items()}


def _sequence(kind: type, converter: _Converter, value: Any, name: str) -> Any:
    _check_list(value, name)
    return kind([converter(each, name) for each in value])


def _entries(converters: Sequence[_Converter], value: Any, name: str) -> tuple[Any, ...]:
    _check_list(value, name)
    if len(value) != len(converters):
        raise ValueError(f"{name} must have {len(converters)} entries")
    pairs = zip(converters, value, strict=True)
    return tuple([converter(each, name) for converter, each in pairs])


def _check_list(value: Any, name: str) -> None:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{name}: {_called(value)} where a list must be")


def _check_depth(value: Any, left: int) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number is not finite")
    if isinstance(value, dict | list):
        if left == 0:
            raise ValueError("nested too deeply")
        for each in value.values() if isinstance(value, dict) else value:
            _check_depth(each, left - 1)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _called(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "yes or no", type(None): "null"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else "something")
