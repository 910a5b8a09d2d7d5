"""holdfast completion, holdfast manual: what shells and man(1) know of these commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.output import note, say
from holdfast.errors import InvalidOption

if TYPE_CHECKING:
    from holdfast.cli.typed.forms import CommandForm


def completion(
    context: typer.Context,
    shell: Annotated[str, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")],
) -> None:
    """Print a script by which a shell completes these commands.

    In bash: source <(holdfast completion bash). In fish: holdfast completion fish | source. In zsh
    after compinit: source <(holdfast completion zsh). The Debian package brings all three.
    """
    from holdfast.cli.typed.shells import SCRIPTS

    if shell not in SCRIPTS:
        raise InvalidOption(f"{shell!r} is no shell of these", f"Say one of {', '.join(SCRIPTS)}.")
    say(SCRIPTS[shell](_root_form(context)).rstrip("\n"))


def manual(
    context: typer.Context,
    directory: Annotated[
        Path, typer.Argument(metavar="DIRECTORY", help="Where they are written; made if missing.")
    ],
) -> None:
    """Write the manual pages of these commands, as `--help` tells them.

    Into a directory such as /usr/local/share/man/man8. The Debian package brings them.
    """
    from holdfast.cli.typed.roff import pages
    from holdfast.model.version import VERSION

    written = pages(_root_form(context), VERSION)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in written.items():
            (directory / name).write_text(text)
    except OSError as error:
        raise InvalidOption(f"{directory}: {error.strerror}", "Name another directory.") from error
    note(f"wrote {len(written)} manual pages to {directory}")


def _root_form(context: typer.Context) -> CommandForm:
    from holdfast.cli.typed.forms import form_of

    return form_of(context.find_root().command)
