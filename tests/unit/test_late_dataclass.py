"""A dataclass made late is what the standard library would have made at once."""

from __future__ import annotations

import dataclasses
import inspect
import pickle
import re
import threading
from dataclasses import asdict, field, fields, is_dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import pytest

import holdfast
from holdfast.late_dataclass import dataclass
from holdfast.system.children.expendable import in_expendable_child

PACKAGE = Path(holdfast.__file__).parent


def made(decorate: Any) -> Any:
    """The same classes with one decorator or the other: a base, one of each kind, a late one."""

    @decorate(frozen=True)
    class Base:
        number: int
        text: str = "text"
        shared: ClassVar[int] = 3

    @decorate(frozen=True)
    class Derived(Base):
        listed: list[int] = field(default_factory=list)
        unseen: int = field(default=0, repr=False, compare=False)
        unhashed: int = field(default=0, hash=False)

        def __post_init__(self) -> None:
            if self.number < 0:
                raise ValueError("below nothing")

    @decorate(frozen=True, kw_only=True)
    class Named(Base):
        further: int
        late: int = field(init=False, default=7)

    @decorate
    class Changing:
        only: int
        filled: dict[str, int] = field(init=False, default_factory=dict)

        def __repr__(self) -> str:
            return "mine"

    @decorate(eq=False)
    class Itself:
        __default_only: int = 1

    @decorate
    class Nothing:
        pass

    class Plain(Base):
        pass

    return Base, Derived, Named, Changing, Itself, Nothing, Plain


OURS, THEIRS = made(dataclass), made(dataclasses.dataclass)


def outcome(classes: Any, what: Any) -> object:
    """What comes of it, or the error; its class and words."""
    try:
        return what(*classes)
    except Exception as error:
        return type(error), str(error)


def hashed(one: object) -> object:
    return isinstance(hash(one), int) and hash(one) == hash(one)


@pytest.mark.parametrize(
    "what",
    [
        lambda base, *_: repr(base(1)),
        lambda base, *_: (base(1) == base(1), base(1) == base(2), base(1) == 1),
        lambda base, *_: {base(1): 2}[base(1)],
        lambda base, *_: base(),
        lambda base, *_: base(1, "", 3),
        lambda base, *_: setattr(base(1), "number", 2),
        lambda base, *_: setattr(base(1), "another", 2),
        lambda base, *_: delattr(base(1), "text"),
        lambda base, derived, *_: (repr(derived(1)), base(1) == derived(1), asdict(derived(1))),
        lambda _, derived, *__: derived(1).listed is derived(1).listed,
        lambda _, derived, *__: (derived(1, unseen=2) == derived(1), hash(derived(1))),
        lambda _, derived, *__: derived(-1),
        lambda _, derived, *__: replace(derived(1, listed=[2]), number=-1),
        lambda _, derived, *__: derived.__match_args__,
        lambda _, __, named, *___: (repr(named(1, further=2)), named.late),
        lambda _, __, named, *___: vars(named(1, further=2)),
        lambda _, __, named, *___: named(1),
        lambda _, __, named, *___: named(1, "text", 2),
        lambda _, __, ___, changing, *____: (repr(changing(1)), vars(changing(1))),
        lambda _, __, ___, changing, *____: hash(changing(1)),
        lambda *classes: (classes[4]() == classes[4](), hashed(classes[4]()), vars(classes[4]())),
        lambda *classes: (repr(classes[5]()), classes[5]() == classes[5]()),
        lambda *classes: (repr(classes[6](1)), setattr(p := classes[6](1), "more", 2), p.more),
        lambda *classes: setattr(classes[6](1), "number", 2),
        lambda *classes: [(each.name, each.kw_only) for one in classes for each in fields(one)],
        lambda *classes: [is_dataclass(one) for one in classes],
    ],
)  # fmt: skip
def test_it_is_the_library_s(what: Any) -> None:
    assert outcome(made(dataclass), what) == outcome(THEIRS, what)
    assert outcome(OURS, what) == outcome(THEIRS, what), "one whose methods are there already"


@dataclass(frozen=True)
class Sent:
    number: int
    text: str = "text"


def test_one_that_comes_without_its_init_is_whole() -> None:
    """As answers of children do: they made the first instance, we did not."""
    first_init = vars(Sent)["__init__"]
    data = in_expendable_child(lambda: pickle.dumps(Sent(1)), doing="a test")
    come, other = pickle.loads(data), pickle.loads(data)
    assert come == other
    assert hash(come) == hash(other)
    assert repr(come) == "Sent(number=1, text='text')"
    with pytest.raises(dataclasses.FrozenInstanceError):
        come.number = 2
    assert vars(Sent)["__init__"] is first_init
    assert Sent(1) == come
    assert vars(Sent)["__init__"] is not first_init


def test_many_threads_make_the_first_one() -> None:
    for _ in range(20):
        base, *_ = made(dataclass)
        begin, found = threading.Barrier(8), []

        def make(base: Any = base, begin: Any = begin, found: Any = found) -> None:
            begin.wait()
            found.append(base(1, text="2"))

        threads = [threading.Thread(target=make) for _ in range(8)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert found == [base(1, "2")] * 8


def test_every_one_of_ours_has_the_parameters_that_it_would_have_had() -> None:
    seen = 0
    for path in sorted(PACKAGE.rglob("*.py")):
        names = re.findall(r"^@dataclass.*\nclass (\w+)", path.read_text(), re.MULTILINE)
        if not names:
            continue
        module = import_module(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
        for kind in (getattr(module, name) for name in names):
            seen += 1
            with pytest.raises(TypeError):
                kind(**{"no field": None})  # makes `__init__`, and goes no further
            all_fields = [(each.name, each.type, each) for each in fields(kind)]
            theirs = dataclasses.make_dataclass("Theirs", all_fields, repr=False, eq=False)
            ours, others = (inspect.signature(each).parameters for each in (kind, theirs))
            assert list(ours) == list(others)
            for mine, other in zip(ours.values(), others.values(), strict=True):
                assert mine.kind == other.kind
                assert (mine.default is mine.empty) == (other.default is other.empty)
    assert seen > 250
