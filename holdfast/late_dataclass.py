"""`dataclass`, as the standard library has it, but for when its methods are made.

The library writes up to six methods for each class and compiles them, more than a millisecond; a
command loads a hundred classes and makes instances of a dozen. Here `__init__`, `__eq__` and
`__hash__` are written and compiled when they are called first, and the others need no text:
docs/decisions/0077-dataclasses-made-late.md.

Invariant: a class can everything from the beginning, and what stands for a method puts the real one
into its own place by one store; so threads, forks, exceptions out of signal handlers, and instances
that come without `__init__` (pickle, `model.bounded`) never meet half a class. `fields`, `replace`,
`asdict` and whoever asks these find what the library would have told them. To mypy it is the
library's own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import MISSING, FrozenInstanceError, fields
from functools import partial
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(kind=None, /, **options):
        """Options are those of the library that we use: frozen, eq, kw_only; and slots, for which
        it has to make another class, and does."""
        decorate = partial(dataclasses.dataclass if "slots" in options else _completed, **options)
        return decorate if kind is None else decorate(kind)


def _completed(kind: Any, *, frozen: bool = False, eq: bool = True, kw_only: bool = False) -> Any:
    own = {name for name, value in vars(kind).items() if value is not None}
    kind.__doc__ = kind.__doc__ or kind.__name__  # the library would write a signature
    dataclasses.dataclass(init=False, repr=False, eq=False, kw_only=kw_only)(kind)
    found = fields(kind)
    if "__init__" not in own:
        kind.__init__ = _late(kind, "__init__", partial(_written_init, kind, frozen))
    if "__repr__" not in own:
        kind.__repr__ = _repr
    if eq and "__eq__" not in own:
        kind.__eq__ = _late(kind, "__eq__", partial(_written_eq, kind))
    if eq and "__hash__" not in own:
        kind.__hash__ = _late(kind, "__hash__", partial(_written_hash, kind)) if frozen else None
    if frozen:
        kind.__setattr__, kind.__delattr__ = _refusing(kind, {each.name for each in found})
    return kind


def _late(kind: type, name: str, write: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
    """A method that puts the real one into its own place. Threads may both do so."""

    def first(self: object, /, *values: object, **named: object) -> Any:
        real = write()
        setattr(kind, name, real)
        return real(self, *values, **named)

    return first


def _written_init(kind: type, frozen: bool) -> Callable[..., Any]:
    """Its names for what is not a field begin with two lines."""
    known: dict[str, Any] = {"__set": object.__setattr__, "__none_given": MISSING}
    parameters, by_name, lines = ["self"], ["*"], []
    for each in fields(kind):
        name = value = each.name
        default = ""
        if each.default is not MISSING:
            known[f"__default_{name}"] = each.default
            default = f"=__default_{name}"
        elif each.default_factory is not MISSING:
            known[f"__make_{name}"] = each.default_factory
            default, value = "=__none_given", f"__make_{name}()"
            if each.init:
                value += f" if {name} is __none_given else {name}"
        if each.init:
            (by_name if each.kw_only else parameters).append(name + default)
        if each.init or each.default_factory is not MISSING:
            lines.append(f"__set(self, {name!r}, {value})" if frozen else f"self.{name} = {value}")
    if hasattr(kind, "__post_init__"):
        lines.append("self.__post_init__()")
    if len(by_name) > 1:
        parameters += by_name
    text = f"def __init__({', '.join(parameters)}):\n  " + "\n  ".join(lines or ["pass"])
    return _compiled(kind, "__init__", text, known)


def _written_eq(kind: type) -> Callable[..., Any]:
    names = [each.name for each in fields(kind) if each.compare]
    text = f"""def __eq__(self, other):
  if type(other) is not type(self):
    return NotImplemented
  return {_values(names, "self")} == {_values(names, "other")}"""
    return _compiled(kind, "__eq__", text, {})


def _written_hash(kind: type) -> Callable[..., Any]:
    names = [e.name for e in fields(kind) if (e.compare if e.hash is None else e.hash)]
    text = f"def __hash__(self):\n  return hash({_values(names, 'self')})"
    return _compiled(kind, "__hash__", text, {})


def _values(names: Sequence[str], whose: str) -> str:
    """A tuple of these attributes, as text."""
    return f"({''.join(f'{whose}.{name}, ' for name in names)})"


def _compiled(kind: type, name: str, text: str, known: dict[str, Any]) -> Callable[..., Any]:
    exec(text, known | {"__name__": kind.__module__}, found := dict[str, Any]())
    method: Callable[..., Any] = found[name]
    method.__qualname__ = f"{kind.__qualname__}.{name}"
    return method


@recursive_repr()
def _repr(self: Any) -> str:
    shown = (f"{each.name}={getattr(self, each.name)!r}" for each in fields(self) if each.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _refusing(kind: Any, names: set[str]) -> tuple[Callable[..., None], Callable[..., None]]:
    """What sets and deletes attributes of a frozen class: of a subclass that is not one, further
    attributes only."""

    def __setattr__(self: object, name: str, value: object) -> None:  # noqa: N807
        if type(self) is kind or name in names:
            raise FrozenInstanceError(f"cannot assign to field {name!r}")
        super(kind, self).__setattr__(name, value)

    def __delattr__(self: object, name: str) -> None:  # noqa: N807
        if type(self) is kind or name in names:
            raise FrozenInstanceError(f"cannot delete field {name!r}")
        super(kind, self).__delattr__(name)

    return __setattr__, __delattr__
