"""holdfast api: serve the programs of this host, and those of others that have a token."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.output import note
from holdfast.errors import MissingTool


def api(
    group: Annotated[
        str | None,
        typer.Option(
            "--group",
            metavar="GROUP",
            help="Whose members may ask; only root changes anything.",
            show_default="holdfast, where there is such a group",
        ),
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(
            "--listen",
            metavar="ADDRESS:PORT",
            help="Serve programs of other hosts, too, that have a token (holdfast token).",
        ),
    ] = None,
    certificate: Annotated[
        Path | None,
        typer.Option(
            "--certificate", metavar="FILE", help="Of this host, for TLS: PEM, issuers after it."
        ),
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--key", metavar="FILE", help="Of that certificate: PEM.")
    ] = None,
) -> None:
    """Serve what there is to know of volumes, and what can be done, to programs.

    REST over a unix socket, docs/api.md. Runs in the foreground until it is told to end:
    packaging/holdfast-api.service. Volumes and other commands work without it as with it.
    """
    from holdfast.config import Settings
    from holdfast.service.rights import need_root
    from holdfast.service.session import opened

    need_root()
    try:
        from holdfast.api.limits import ApiLimits
        from holdfast.api.serve import group_number, listening, listening_by_network, serve
    except ModuleNotFoundError as error:
        raise MissingTool(
            f"the API needs a library that is not installed: {error.name}",
            "Install it where Holdfast is: pip install 'holdfast[api]'.",
        ) from error
    certificate, key = (each and each.absolute() for each in (certificate, key))
    os.chdir("/")  # it is no user of the volume that it was started in
    number = group_number(group)
    with (
        opened(Settings(), "api") as holdfast,
        listening(holdfast.settings, number) as listener,
        listening_by_network(listen, certificate, key) as network,
    ):
        who = "root" if number is None else f"root, and group {number}"
        note(f"listening at {holdfast.settings.api_socket}, to {who}")
        if network is not None:
            note(f"listening at {network.url}, to who has a token: holdfast token create --help")
        serve(listener, ApiLimits(), holdfast.settings, network)
