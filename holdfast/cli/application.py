"""Puts the command families together and turns every ending into an exit status.

Owns the last line of defence: nothing gets past `run` as a traceback, unless HOLDFAST_DEBUG=1
asks for it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from holdfast.cli.late_commands import LateCommands
from holdfast.cli.output import note, print_error, say, take_every_character
from holdfast.cli.usage import report_usage
from holdfast.errors import HoldfastError, InvalidOption
from holdfast.model.version import VERSION
from holdfast.system.messages.logs import LEVEL_VARIABLE, LEVELS
from holdfast.system.processes.beginning import begin_cleanly
from holdfast.system.processes.ending import ending_in_order, hear_endings

INTERRUPTED = 130
"""128 + SIGINT, as shells report it."""

NOBODY_READS = 141
"""128 + SIGPIPE: whoever read our output has gone."""

UNEXPECTED = 70
"""EX_SOFTWARE of sysexits.h: a mistake in Holdfast itself."""

_USAGE_ERROR: type[Exception] = typer.BadParameter.__bases__[0]
"""Click's UsageError; its home differs between releases of Typer."""

application = typer.Typer(
    name="holdfast",
    cls=LateCommands,
    help="Replace, restore or rewind the storage under a running Linux application.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_LOG_LEVEL = "info"


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"holdfast {VERSION}")
        raise typer.Exit


def _check_log_level(context: typer.Context, level: str) -> str:
    """What was typed must be one; what the environment says keeps nobody from `recover`."""
    if level.lower() not in LEVELS:
        source = context.get_parameter_source("log_level")
        if source is None or source.name != "ENVIRONMENT":
            raise InvalidOption(f"{level!r} is no log level", f"Say one of {', '.join(LEVELS)}.")
        note(f"note: {LEVEL_VARIABLE}: {level!r} is no log level, {_LOG_LEVEL} is used instead")
        level = _LOG_LEVEL
    os.environ[LEVEL_VARIABLE] = level  # for the processes that this one starts, too
    return level


@application.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
    log_level: Annotated[
        str,
        typer.Option(
            "--log-level",
            envvar=LEVEL_VARIABLE,
            callback=_check_log_level,
            help=f"Least level that is logged: {', '.join(LEVELS)}.",
        ),
    ] = _LOG_LEVEL,
) -> None:
    """Replace, restore or rewind the storage under a running Linux application."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit status as docs/exit-status.md lists them."""
    begin_cleanly()
    given = list(sys.argv[1:] if arguments is None else arguments)
    take_every_character()
    with ending_in_order() as signals:
        status = _run(given)
    return 128 + signals[0] if signals and status == INTERRUPTED else status


def _run(given: list[str]) -> int:
    try:
        hear_endings()
        ended = application(args=given, prog_name="holdfast", standalone_mode=False)
        sys.stdout.flush()
        return ended if isinstance(ended, int) else 0
    except HoldfastError as error:
        print_error(error)
        return error.exit_status
    except _USAGE_ERROR as error:
        return report_usage(error)
    except typer.Exit as error:
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except (BrokenPipeError, SystemExit):  # Typer turns a broken pipe into SystemExit
        _forget_output()
        return NOBODY_READS
    except Exception as error:
        return _report_unexpected(error)


def _forget_output() -> None:
    """Keep the interpreter from complaining about the pipe once more at its exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


def _report_unexpected(error: Exception) -> int:
    if os.environ.get("HOLDFAST_DEBUG") == "1":
        import traceback

        traceback.print_exception(error)
    else:
        note(
            f"error: a mistake in Holdfast itself: {type(error).__name__}: {error}\n"
            "  mend: run it again with HOLDFAST_DEBUG=1 and report what it prints."
        )
    return UNEXPECTED
