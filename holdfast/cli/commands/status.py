"""holdfast status: every volume at a glance, what is wrong and what mends it; once or live."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.options import AsJson, positive_duration
from holdfast.cli.output import console, json_text, note, print_grid, print_json, say, say_folded
from holdfast.cli.session import session
from holdfast.errors import InvalidOption
from holdfast.model.volume import check_name

if TYPE_CHECKING:
    from holdfast.model.following import FollowingReport
    from holdfast.model.volume import VolumeReport
    from holdfast.service import Holdfast
    from holdfast.service.seen import Shown

NEEDS_ATTENTION = 1
"""Exit status of --check, as docs/exit-status.md has it."""

_Look = Callable[[], "tuple[list[Shown], _Copies]"]
_Copies = dict[str, "list[FollowingReport]"]
"""Those that follow, by volume."""


def status(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", parser=check_name, help="Only this volume."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="End with status 1 when something is wrong.")
    ] = False,
    unhealthy: Annotated[
        bool, typer.Option("--unhealthy", "-x", help="Only volumes with which something is wrong.")
    ] = False,
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
    """Show every volume with its state and figures, what is wrong, and what mends it.

    With --watch and --json: one line of JSON per look.
    """
    if check and watch:
        raise InvalidOption("--check looks once, and --watch never ends", "Leave one of them out.")
    with session() as holdfast:
        look = partial(_look, holdfast, name, unhealthy)
        if not watch:
            shown, copies = look()
            _once(shown, copies, as_json, unhealthy)
            if name is not None and shown and not as_json:
                _tell_drill(holdfast, shown[0][0])
        elif as_json or not sys.stdout.isatty():
            _repeat(look, interval, as_json)
        else:
            _live(look, interval)
    if check and any(wrong for _, wrong in shown):
        raise typer.Exit(NEEDS_ATTENTION)


def _tell_drill(holdfast: Holdfast, report: VolumeReport) -> None:
    """When it was last found out whether this one could be restored: never is no trouble."""
    from holdfast.cli.drilled import drill_words
    from holdfast.service.last_drills import can_be_drilled, last_drill, schedules

    last = last_drill(holdfast.catalog, report.name)
    if last is not None and not last.worked:
        return  # that is among what is wrong
    schedule = schedules(holdfast.settings).get(report.name)
    if last is not None or schedule is not None or can_be_drilled(holdfast.catalog, report):
        say_folded(f"  last drill: {drill_words(last, report.name, schedule)}")


def _look(holdfast: Holdfast, name: str | None, unhealthy: bool) -> tuple[list[Shown], _Copies]:
    from holdfast.service.seen import shown_copies, shown_volumes

    shown = [each for each in shown_volumes(holdfast, name) if each[1] or not unhealthy]
    return shown, shown_copies(holdfast, [report for report, _ in shown])


def _as_values(shown: list[Shown], copies: _Copies) -> list[dict[str, Any]]:
    return [
        {**asdict(report), "troubles": wrong, "copies": copies.get(report.name, [])}
        for report, wrong in shown
    ]


def _once(shown: list[Shown], copies: _Copies, as_json: bool, unhealthy: bool) -> None:
    from holdfast.cli.views import status_view

    if as_json:
        print_json(_as_values(shown, copies))
    elif shown:
        print_grid(status_view(shown, copies))
    elif unhealthy:
        say("nothing is wrong")
    else:
        note("There are no volumes yet: holdfast volume create --help")


def _repeat(look: _Look, interval_seconds: float, as_json: bool) -> None:
    from holdfast.cli.views import status_view

    while True:
        shown, copies = look()
        if as_json:
            say(json_text(_as_values(shown, copies)))
        else:
            print_grid(status_view(shown, copies))
        sys.stdout.flush()
        time.sleep(interval_seconds)


def _live(look: _Look, interval_seconds: float) -> None:
    from rich.live import Live

    from holdfast.cli.views import status_view

    with Live(console=console(), auto_refresh=False, screen=True) as live:
        while True:
            live.update(status_view(*look()), refresh=True)
            time.sleep(interval_seconds)
