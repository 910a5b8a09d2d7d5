"""holdfast receipt: what happened, when, and how long anyone waited."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli.options import AsJson
from holdfast.cli.output import note, print_json
from holdfast.cli.session import session
from holdfast.model.volume import check_name

commands = typer.Typer(
    help="Read what happened to volumes.", no_args_is_help=True, rich_markup_mode=None
)


@commands.command("list")
def list_receipts(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", parser=check_name, help="Only of this volume."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most that many.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List receipts, newest first; also those of volumes that were deleted since."""
    from holdfast.cli.views import print_receipts

    with session() as holdfast:
        receipts = holdfast.receipts(name, limit)
        for path in holdfast.set_aside:
            note(f"warning: a receipt could not be read and was moved aside: {path}")
    if as_json:
        print_json(receipts)
    elif receipts:
        print_receipts(receipts)
    else:
        note("Nothing has happened yet.")


@commands.command()
def show(
    identifier: Annotated[
        str, typer.Argument(metavar="ID", help="Id of the receipt, or how it begins.")
    ],
    as_json: AsJson = False,
) -> None:
    """Show one receipt with its time line."""
    from holdfast.cli.views import print_receipt

    with session() as holdfast:
        receipt = holdfast.receipt(identifier)
    if as_json:
        print_json(receipt)
    else:
        print_receipt(receipt)
