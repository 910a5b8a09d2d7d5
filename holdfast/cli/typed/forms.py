"""Commands, arguments and options as plain values, read from what prints `--help`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from holdfast.late_dataclass import dataclass

PROGRAM = "holdfast"

_NEW_NAMES = (("volume", "create"), ("volume", "adopt"))
"""Commands that take a name which no volume has yet."""

_LISTED = frozenset({"TYPE", "MODE", "KIND", "WAY", "STRATEGY"})
"""Values of which the help lists all, before its first semicolon or full stop."""

_PLACES = frozenset({"PATH", "URL", "SOURCE", "DIRECTORY"})


class Offer(StrEnum):
    """What a shell offers for a value."""

    VOLUMES = "volumes"
    FILES = "files"
    WORDS = "words"
    NOTHING = "nothing"


@dataclass(frozen=True)
class ValueForm:
    """A value that can be typed: an argument, or what follows an option."""

    metavar: str
    offer: Offer
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class ArgumentForm:
    """One argument of a command."""

    value: ValueForm
    help: str
    required: bool


@dataclass(frozen=True)
class OptionForm:
    """One option with all its spellings, short ones first."""

    spellings: tuple[str, ...]
    value: ValueForm | None
    """None for a switch."""
    help: str
    repeatable: bool


@dataclass(frozen=True)
class CommandForm:
    """A command, or a family of commands that are `below` it."""

    words: tuple[str, ...]
    """As typed after the program's name."""
    usage: str
    """Arguments as `--help` has them."""
    summary: str
    text: str
    """Paragraphs, separated by empty lines."""
    arguments: tuple[ArgumentForm, ...]
    options: tuple[OptionForm, ...]
    below: tuple[CommandForm, ...]

    @property
    def name(self) -> str:
        """The last word."""
        return self.words[-1] if self.words else PROGRAM

    def everything(self) -> Iterator[CommandForm]:
        """This one, and all that are below it."""
        yield self
        for each in self.below:
            yield from each.everything()


def form_of(command: Any, context: Any = None, words: tuple[str, ...] = ()) -> CommandForm:
    """What a command of Typer (as `typer.main.get_command` gives it) can be told. Pure."""
    here = command.context_class(
        command, info_name=words[-1] if words else PROGRAM, parent=context, **_settings(command)
    )
    parameters = [each for each in command.get_params(here) if not getattr(each, "hidden", False)]
    below = getattr(command, "commands", {})
    return CommandForm(
        words,
        " ".join(command.collect_usage_pieces(here)),
        command.get_short_help_str(limit=10_000),
        command.help or "",
        tuple(
            _argument(each, here, words)
            for each in parameters
            if each.param_type_name == "argument"
        ),
        tuple(_option(each, here) for each in parameters if each.param_type_name == "option"),
        tuple(
            form_of(each, here, (*words, name)) for name, each in below.items() if not each.hidden
        ),
    )


def _settings(command: Any) -> dict[str, Any]:
    return dict(command.context_settings)


def _argument(parameter: Any, context: Any, words: tuple[str, ...]) -> ArgumentForm:
    record = parameter.get_help_record(context)
    metavar = (parameter.metavar or parameter.name).strip("[]{}").upper()
    offer, listed = _offer(metavar, record[1])
    if metavar == "NAME":
        offer = Offer.NOTHING if words in _NEW_NAMES else Offer.VOLUMES
    return ArgumentForm(ValueForm(metavar, offer, listed), record[1], parameter.required)


def _option(parameter: Any, context: Any) -> OptionForm:
    record = parameter.get_help_record(context)
    spellings = tuple(sorted((*parameter.opts, *parameter.secondary_opts), key=len))
    value = None
    if not parameter.is_flag and not getattr(parameter, "count", False):
        metavar = parameter.metavar or re.sub(r"[<>]", "", record[0].split()[-1]).upper()
        value = ValueForm(metavar, *_offer(metavar, record[1]))
    return OptionForm(spellings, value, record[1], bool(parameter.multiple))


def _offer(metavar: str, text: str) -> tuple[Offer, tuple[str, ...]]:
    if metavar in _PLACES:
        return Offer.FILES, ()
    if metavar in _LISTED and (words := _listed(text)):
        return Offer.WORDS, words
    return Offer.NOTHING, ()


def _listed(text: str) -> tuple[str, ...]:
    """The words of `a, b or c; more`; none when it is no list of words."""
    words = re.split(r", | or ", re.split(r"[;.]", text, maxsplit=1)[0])
    return tuple(words) if all(re.fullmatch(r"[a-z0-9-]+", each) for each in words) else ()
