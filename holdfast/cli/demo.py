"""holdfast demo: the whole story on this host, in under a minute."""

from __future__ import annotations

import typer


def demo() -> None:
    """Break the storage under running applications.

    Three applications that verify themselves run on a volume whose storage is destroyed, hung
    and replaced, and whose driver is killed. Exit status 0 only when they noticed nothing.
    """
    from holdfast.demo.story import run

    raise typer.Exit(run())
