"""holdfast api: serve the programs of this host."""

from __future__ import annotations

import os
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
) -> None:
    """Serve what there is to know of volumes, and what can be done, to programs of this host.

    REST over a unix socket, docs/api.md. Runs in the foreground until it is told to end:
    packaging/holdfast-api.service. Volumes and other commands work without it as with it.
    """
    from holdfast.config import Settings
    from holdfast.service.rights import need_root
    from holdfast.service.session import opened

    need_root()
    try:
        from holdfast.api.limits import ApiLimits
        from holdfast.api.serve import group_number, listening, serve
    except ModuleNotFoundError as error:
        raise MissingTool(
            f"the API needs a library that is not installed: {error.name}",
            "Install it where Holdfast is: pip install 'holdfast[api]'.",
        ) from error
    os.chdir("/")  # it is no user of the volume that it was started in
    number = group_number(group)
    with opened(Settings(), "api") as holdfast, listening(holdfast.settings, number) as listener:
        who = "root" if number is None else f"root, and group {number}"
        note(f"listening at {holdfast.settings.api_socket}, to {who}")
        serve(listener, ApiLimits())
