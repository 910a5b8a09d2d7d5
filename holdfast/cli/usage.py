"""What was typed is no command of ours: said with what to type instead."""

from __future__ import annotations

import sys
from typing import Any

from holdfast.cli.output import print_error
from holdfast.errors import InvalidOption

_PAST = (
    "Files as they were: holdfast files --help. All of a volume as it was, beside it: holdfast"
    " clone --help; in its place: holdfast restore --at."
)
_WORDS_FOR_THE_PAST = frozenset(("rewind", "rollback", "undelete", "undo", "revert", "unrm"))
"""Whoever types one of these has lost something, and is in a hurry."""


def report_usage(error: Exception) -> int:
    """Print it; the exit status. `error`: a UsageError of Click."""
    context = getattr(error, "ctx", None)
    where = context.command_path if context is not None else "holdfast"
    text = str(getattr(error, "message", error) or error)
    if type(error).__name__ == "NoArgsIsHelpError" or not text:
        print(context.get_help() if context is not None else text, file=sys.stderr)
        return InvalidOption.exit_status
    formatted = getattr(error, "format_message", lambda: text)().rstrip(".")
    mend = f"{where} --help shows what there is."
    if _asks_for_the_past(formatted):
        formatted, mend = formatted.partition(". Did")[0], _PAST
    elif context is not None and not hasattr(context.command, "commands"):
        mend = f"Write: {_form(context)}; {mend}"
    print_error(InvalidOption(formatted, mend))
    return InvalidOption.exit_status


def _asks_for_the_past(message: str) -> bool:
    what, _, rest = message.partition(" '")
    return what == "No such command" and rest.partition("'")[0].lower() in _WORDS_FOR_THE_PAST


def _form(context: Any) -> str:
    """The command with its arguments, in their order, and the options that it needs."""
    words = context.get_usage().removeprefix("Usage: ").split()
    for each in context.command.params:
        if each.required and each.param_type_name == "option":
            words += [each.opts[0], each.metavar or ""]
    return " ".join(words).replace("{", "").replace("}", "").replace(" [OPTIONS]", "")
