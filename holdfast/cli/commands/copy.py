"""holdfast copy: images from which the history of a volume leads to later moments."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.options import AsJson, DryRun, VolumeName, Yes
from holdfast.cli.output import confirm, note, print_json, print_table, say, stepped_progress
from holdfast.cli.session import session
from holdfast.model.moment import in_full
from holdfast.model.size import format_size
from holdfast.model.volume import check_name

if TYPE_CHECKING:
    from holdfast.model.copy import CopyReport, VolumeCopy

commands = typer.Typer(
    help="Manage the copies of a volume from which its history leads on.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

CopyName = Annotated[
    str, typer.Argument(metavar="COPY", help="Id or URL of the copy (see copy list).")
]


@commands.command()
def add(
    name: VolumeName,
    url: Annotated[
        str, typer.Argument(metavar="URL", help="An image to be made: file:/absolute/path.img.")
    ],
    dry_run: DryRun = False,
) -> None:
    """Copy a volume in use: any moment after that can be reached with its history."""
    with session() as holdfast:
        copies = holdfast.histories.copies
        if dry_run:
            say(f"Would {copies.plan_add(name, url)}")
            return
        with stepped_progress(f"copying {name}") as reporter:
            made = copies.add(name, url, reporter)
    note(f"{made.url} is a copy of {name}: moments from {_from(made)} on can be had")


@commands.command(name="list")
def list_copies(
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="Of this volume; of all without it.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """List copies, and what they are good for now."""
    with session() as holdfast:
        found = holdfast.histories.copies.show(check_name(name) if name else "")
    if as_json:
        print_json([each.as_json() for each in found])
        return
    columns = ("id", "volume", "state", "size", "moments from", "position", "url", "why")
    print_table(columns, [_row(each) for each in found], below=("url", "why", "position"))


@commands.command()
def advance(name: VolumeName, copy: CopyName) -> None:
    """Bring a copy to the present: older history may go then, and older moments with it."""
    with session() as holdfast, stepped_progress(f"bringing {copy} up to date") as reporter:
        made = holdfast.histories.copies.advance(name, copy, reporter)
    note(f"{made.url} is up to date: moments from {_from(made)} on can be had from it, none before")


@commands.command()
def verify(name: VolumeName, copy: CopyName) -> None:
    """Read all of a copy and of the history that follows it."""
    with session() as holdfast, stepped_progress(f"reading {copy}") as reporter:
        end = holdfast.histories.copies.verify(name, copy, reporter)
    say(f"The history leads from it up to position {end}, without a gap")


@commands.command()
def remove(
    name: VolumeName,
    copy: CopyName,
    keep_image: Annotated[
        bool, typer.Option("--keep-image", help="Only forget it; the image stays.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Remove a copy with its image."""
    with session() as holdfast:
        copies = holdfast.histories.copies
        found = copies.find(name, copy)
        if not keep_image:
            confirm(f"Remove the image {found.url}?", yes)
        removed = copies.remove(name, copy, keep_image=keep_image)
    note(f"removed {found.url}" if removed else f"forgot {found.url}; what is there stays")


def _row(report: CopyReport) -> tuple[str, ...]:
    copy = report.copy
    since = _from(copy) if copy.is_complete else ""
    good = "" if copy.good_from is None else str(copy.good_from)
    size = format_size(copy.size_bytes)
    return copy.id[:8], copy.volume, report.state, size, since, good, copy.url, report.reason


def _from(copy: VolumeCopy) -> str:
    return in_full(math.ceil(copy.made))
