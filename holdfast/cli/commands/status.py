"""holdfast status: every volume at a glance, once or live."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.options import AsJson, positive_duration
from holdfast.cli.output import console, json_text, note, print_grid, print_json, say
from holdfast.cli.session import session

if TYPE_CHECKING:
    from holdfast.service import Holdfast


def status(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Until Ctrl-C.")] = False,
    interval: Annotated[
        float,
        typer.Option(
            "--interval",
            metavar="TIME",
            parser=positive_duration,
            help="Between looks, with --watch.",
            show_default="1s",
        ),
    ] = 1.0,
    as_json: AsJson = False,
) -> None:
    """Show every volume with its state and figures.

    With --watch and --json: one line of JSON per look.
    """
    with session() as holdfast:
        if watch and (as_json or not sys.stdout.isatty()):
            _repeat(holdfast, interval, as_json)
        elif watch:
            _live(holdfast, interval)
        else:
            _once(holdfast, as_json)


def _once(holdfast: Holdfast, as_json: bool) -> None:
    from holdfast.cli.views import status_table

    reports = holdfast.status()
    if as_json:
        print_json(reports)
    elif reports:
        print_grid(status_table(reports))
    else:
        note("There are no volumes yet: holdfast volume create --help")


def _repeat(holdfast: Holdfast, interval_seconds: float, as_json: bool) -> None:
    from holdfast.cli.views import status_table

    while True:
        reports = holdfast.status()
        if as_json:
            say(json_text(reports))
            sys.stdout.flush()
        else:
            print_grid(status_table(reports))
            sys.stdout.flush()
        time.sleep(interval_seconds)


def _live(holdfast: Holdfast, interval_seconds: float) -> None:
    from rich.live import Live

    from holdfast.cli.views import status_table

    with Live(console=console(), auto_refresh=False, screen=True) as live:
        while True:
            live.update(status_table(holdfast.status()), refresh=True)
            time.sleep(interval_seconds)
