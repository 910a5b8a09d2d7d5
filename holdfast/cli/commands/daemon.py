"""holdfast daemon: watch the volumes of this host, and tell somebody."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from holdfast.cli.options import positive_duration
from holdfast.cli.output import note


def daemon(
    interval: Annotated[
        float,
        typer.Option(
            "--interval",
            metavar="TIME",
            parser=positive_duration,
            help="Between looks.",
            show_default="5s",
        ),
    ] = 5.0,
) -> None:
    """Watch every volume, tell those of `alert list` when something is wrong, do what policies say.

    Runs in the foreground until it is told to end: packaging/holdfast-daemon.service. Volumes work
    without it as with it.
    """
    from holdfast.config import Settings
    from holdfast.daemon.watch import Watch
    from holdfast.policy.watching import only_one
    from holdfast.service.rights import need_root
    from holdfast.service.session import opened

    need_root()
    os.chdir("/")  # it is no user of the volume that it was started in
    with opened(Settings(), "daemon") as holdfast, only_one(holdfast.settings.run_directory):
        told = [each.url for each in holdfast.alerts.destinations()]
        who = f"Told: {', '.join(told)}" if told else "Nobody is told: holdfast alert add --help"
        note(f"watching. {who}")
        Watch(holdfast).go_on(interval)
