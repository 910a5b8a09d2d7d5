"""holdfast demo: the whole story on this host, in under a minute."""

from __future__ import annotations

import typer

from holdfast.cli.options import AsJson
from holdfast.cli.output import print_json


def demo(as_json: AsJson = False) -> None:
    """Break the storage under running applications.

    Three applications that verify themselves run on a volume whose storage is destroyed, hung
    and replaced, and whose driver is killed. Exit status 0 only when they noticed nothing.
    Takes about half a minute and leaves nothing behind, also after Ctrl-C.
    """
    from holdfast.demo.story import run

    status, verdict = run(as_json=as_json)
    if as_json and verdict is not None:
        print_json(verdict.as_json())
    raise typer.Exit(status)
