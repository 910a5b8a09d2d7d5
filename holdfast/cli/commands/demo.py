"""holdfast demo: the whole story on this host, in under a minute."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.options import AsJson
from holdfast.cli.output import print_json


def demo(
    page: Annotated[
        Path | None,
        typer.Option(
            "--page",
            metavar="FILE",
            help="Where its page is left.",
            show_default="/var/tmp/holdfast-demo.html",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Break the storage under running applications.

    Three applications that verify themselves run on a volume whose storage is destroyed, hung
    and replaced, and whose driver is killed; a directory is deleted by mistake, and in the end
    all storage is gone for good. Exit status 0 only when they noticed nothing.
    Takes less than a minute and leaves nothing behind, also after Ctrl-C, but the page that its
    last line names: what happened, as pictures.
    """
    from holdfast.demo.story import PAGE, run

    status, verdict = run(as_json=as_json, page=PAGE if page is None else page)
    if as_json and verdict is not None:
        print_json(verdict.as_json())
    raise typer.Exit(status)
