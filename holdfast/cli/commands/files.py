"""holdfast files: single files of a volume as it was at a moment."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

import typer

from holdfast.cli.options import AsJson, VolumeName
from holdfast.cli.output import note, print_json, print_table, stepped_progress
from holdfast.cli.past_moment import settled
from holdfast.cli.session import session
from holdfast.errors import InvalidOption
from holdfast.model.size import format_size

LEFT = 1
"""Exit status when something was not put back, as docs/exit-status.md has it."""


class Wish(StrEnum):
    """What is to be done with them."""

    LIST = "ls"
    RESTORE = "restore"


def files(
    name: VolumeName,
    wish: Annotated[Wish, typer.Argument(metavar="ls|restore", help="Look, or put back.")],
    path: Annotated[str, typer.Argument(metavar="PATH", help="In the volume.")],
    at: Annotated[str, typer.Option("--at", metavar="WHEN", help="A moment, as clone takes it.")],
    into: Annotated[
        str,
        typer.Option("--into", metavar="PATH", help="A directory to put it into, not its place."),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Get deleted or garbled files back as they were at a moment, or list them.

    It takes a history and a copy of before. A file that is there is written in place: whoever has
    it open sees it.
    """
    if into and wish is Wish.LIST:
        raise InvalidOption("--into goes with restore")
    with session() as holdfast:
        at = settled(holdfast, name, at)
        view = holdfast.histories.files
        with stepped_progress(f"{wish} {path}") as reporter:
            if wish is Wish.LIST:
                found = view.show(name, at, path, reporter)
                brought = None
            else:
                brought = view.restore(name, at, path, into, reporter)
    if brought is None:
        if as_json:
            print_json([each._asdict() for each in found])
            return
        print_table(
            ("kind", "mode", "owner", "size", "modified", "name"),
            [
                (
                    each.kind,
                    f"{each.mode:04o}",
                    str(each.owner_uid),
                    format_size(each.size_bytes),
                    datetime.fromtimestamp(each.modified).strftime("%Y-%m-%d %H:%M:%S"),
                    each.name,
                )
                for each in found
            ],
        )
        return
    if as_json:
        print_json(vars(brought))
    else:
        count, size = brought.files, format_size(brought.written_bytes)
        words = "1 file is as it was" if count == 1 else f"{count} files are as they were"
        note(f"{words}: {size} were written")
        for each in brought.left:
            note(f"left: {each}")
    if brought.left:
        raise typer.Exit(LEFT)
