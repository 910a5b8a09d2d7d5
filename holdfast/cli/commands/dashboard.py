"""holdfast dashboard: everything at a glance, for a browser."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from holdfast.cli.output import note, say
from holdfast.errors import InvalidOption, MissingTool


def dashboard(
    listen: Annotated[
        str, typer.Option(metavar="ADDRESS:PORT", help="Where; port 0: any that is free.")
    ] = "127.0.0.1:8520",
    beyond: Annotated[
        bool,
        typer.Option(
            "--beyond-this-host",
            help="Also at an address that other hosts reach: without encryption.",
        ),
    ] = False,
) -> None:
    """Serve pages that show every volume, what happens to it and what has happened; change nothing.

    Prints the address to open, with a secret that is another one at each start. It asks the API
    (holdfast api) alone; started as root it becomes nobody, with the API's group. Runs in the
    foreground until it is told to end: docs/dashboard.md.
    """
    import asyncio

    from holdfast.config import Settings

    try:
        from holdfast.api.addresses import bound, read_address
        from holdfast.dashboard.identity import become_nobody, reading_group
        from holdfast.dashboard.serve import Dashboard
    except ModuleNotFoundError as error:
        raise MissingTool(
            f"the dashboard needs a library that is not installed: {error.name}",
            "Install it where Holdfast is: pip install 'holdfast[dashboard]'.",
        ) from error
    address = read_address(listen)
    if address.is_beyond and not beyond:
        raise InvalidOption(
            f"other hosts could connect to {address.host}, and it shows what root sees",
            "Listen at 127.0.0.1 and come by: ssh -L 8520:127.0.0.1:8520 HOST."
            " If the network is trusted: --beyond-this-host.",
        )
    os.chdir("/")  # it is no user of the volume that it was started in
    served = Dashboard()
    with bound(address, "holdfast dashboard") as listener:
        if os.geteuid() == 0:
            group = reading_group(Settings().api_socket)
            asyncio.run(served.warm_up())
            become_nobody(group)
        asyncio.run(served.warm_up())
        note("open this address; whoever has it can look:")
        say(served.url(listener))
        sys.stdout.flush()
        served.serve(listener)
