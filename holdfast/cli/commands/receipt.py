"""holdfast receipt: what happened, when, and how long anyone waited."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from holdfast.cli.options import AsJson
from holdfast.cli.output import json_text, note, print_json, say
from holdfast.cli.session import session
from holdfast.errors import InvalidOption
from holdfast.model.moment import Timespan, parse_moment
from holdfast.model.volume import check_name

if TYPE_CHECKING:
    from holdfast.model.receipt import Receipt

FOLLOW_SECONDS = 1.0
"""Between looks: gates write their receipts within a second."""

commands = typer.Typer(
    help="Read what happened to volumes.", no_args_is_help=True, rich_markup_mode=None
)


@commands.command("list")
def list_receipts(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", parser=check_name, help="Only of this volume."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help='Begun then or later: "10m ago", "yesterday 14:02".'),
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="WHEN", help="Begun before then.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most that many.")] = 100,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with each new one, until Ctrl-C.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List receipts, newest first; also those of volumes that were deleted since.

    With --follow oldest first; and with --json, one line of JSON for each.
    """
    if follow and until is not None:
        raise InvalidOption("--follow never ends, and --until does", "Leave one of them out.")
    now = time.time()
    begun = Timespan(
        -math.inf if since is None else parse_moment(since, now),
        math.inf if until is None else parse_moment(until, now),
    )
    with session() as holdfast:
        look = partial(holdfast.receipts, name, limit, begun)
        if follow:
            _follow(look, as_json)
        _once(look(), as_json)
        for path in holdfast.set_aside:
            note(f"warning: a receipt could not be read and was moved aside: {path}")


def _once(receipts: list[Receipt], as_json: bool) -> None:
    from holdfast.cli.views import print_receipts

    if as_json:
        print_json(receipts)
    elif receipts:
        print_receipts(receipts)
    else:
        note("Nothing has happened yet.")


def _follow(look: Callable[[], list[Receipt]], as_json: bool) -> NoReturn:
    from holdfast.cli.views import receipt_line

    told: set[str] = set()
    while True:
        fresh = [receipt for receipt in look() if receipt.id not in told]
        for receipt in reversed(fresh):
            say(json_text(receipt) if as_json else receipt_line(receipt))
        sys.stdout.flush()
        told.update(receipt.id for receipt in fresh)
        time.sleep(FOLLOW_SECONDS)


@commands.command()
def show(
    identifier: Annotated[
        str, typer.Argument(metavar="ID", help="Id of the receipt, or how it begins.")
    ],
    page: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write a page with a picture of it there."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show one receipt with its time line.

    With --html as one file for a browser, with everything in it: to keep, or to send to somebody.
    A file of that name is replaced.
    """
    from holdfast.cli.views import print_receipt

    if page is not None and as_json:
        raise InvalidOption("--html writes a page, --json prints values", "Leave one of them out.")
    with session() as holdfast:
        receipt = holdfast.receipt(identifier)
    if page is not None:
        _write_page(receipt, page)
    elif as_json:
        print_json(receipt)
    else:
        print_receipt(receipt)


def _write_page(receipt: Receipt, path: Path) -> None:
    from holdfast.receipt_page import document, first_line
    from holdfast.system.files.durable import replace_durably

    if path.is_dir():
        raise InvalidOption(f"{path} is a directory", "Name a file in it.")
    try:
        replace_durably(path, document([receipt], first_line(receipt)), 0o644)
    except OSError as error:
        raise InvalidOption(f"{path}: {error.strerror}", "Name another file.") from error
    note(f"wrote {path}")
