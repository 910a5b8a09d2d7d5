"""holdfast alert: who is told when something is wrong."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli.options import AsJson
from holdfast.cli.output import note, print_json, print_table
from holdfast.cli.session import session
from holdfast.errors import NotDelivered
from holdfast.model.time_text import milliseconds_text

commands = typer.Typer(
    help="Say who is told when something is wrong.", no_args_is_help=True, rich_markup_mode=None
)

Url = Annotated[
    str,
    typer.Argument(metavar="URL", help="command:/PATH, webhook:https://HOST/PATH, mail:ADDRESS."),
]


@commands.command()
def add(url: Url) -> None:
    """Tell somebody: run a program, post to a web address, send mail."""
    with session() as holdfast:
        holdfast.alerts.add(url)
    note(f"{url} is told, while holdfast daemon runs: holdfast alert test")


@commands.command()
def remove(url: Url) -> None:
    """Tell somebody no more."""
    with session() as holdfast:
        holdfast.alerts.remove(url)
    note(f"{url} is told nothing more")


@commands.command("list")
def list_destinations(as_json: AsJson = False) -> None:
    """List who is told, and what could not be delivered yet."""
    with session() as holdfast:
        found = holdfast.alerts.destinations()
    if as_json:
        print_json(found)
    elif found:
        rows = [(each.url, str(each.waiting), each.error) for each in found]
        print_table(("told", "waiting", "last error"), rows, ("waiting",), ("last error",))
    else:
        note("Nobody is told when something is wrong: holdfast alert add --help")


@commands.command()
def test(as_json: AsJson = False) -> None:
    """Send everybody a test message now, and say how it went. Status 7 when one was not told."""
    with session() as holdfast:
        tried = holdfast.alerts.test()
    if as_json:
        print_json(tried)
    else:
        rows = [
            (each.url, milliseconds_text(each.seconds * 1000), each.error or "taken")
            for each in tried
        ]
        print_table(("told", "took", "how it went"), rows, ("took",), ("how it went",))
    failed = [each.url for each in tried if each.error]
    if failed:
        words = f"{', '.join(failed)} {'was' if len(failed) == 1 else 'were'} not told"
        raise NotDelivered(words, "See what it says, mend that, and try again.")
