"""holdfast token: who may ask the API by network."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from holdfast.cli.options import AsJson, positive_duration
from holdfast.cli.output import note, print_json, print_table, say
from holdfast.cli.session import session
from holdfast.errors import InvalidOption
from holdfast.model.time_text import time_text
from holdfast.model.volume import check_name

commands = typer.Typer(
    help="Say who may ask the API by network.", no_args_is_help=True, rich_markup_mode=None
)

_NEVER = "never"


def _expiry(text: str | float) -> float:
    if text == _NEVER:
        return math.inf
    return positive_duration(text)


@commands.command()
def create(
    name: Annotated[
        str, typer.Argument(metavar="TOKEN", parser=check_name, help="What it is called here.")
    ],
    scope: Annotated[
        str, typer.Option("--scope", metavar="SCOPE", help="read, or change: as much as root may.")
    ] = "read",
    volume: Annotated[
        list[str] | None,
        typer.Option(
            "--volume", metavar="NAME", help="Only of that volume; several: once for each."
        ),
    ] = None,
    expires: Annotated[
        float,
        typer.Option(
            "--expires",
            metavar="TIME",
            parser=_expiry,
            help="When it counts no longer, from now on; or never.",
            show_default="90d",
        ),
    ] = 90 * 86400.0,
    as_json: AsJson = False,
) -> None:
    """Make a token, and print it: this once, it is kept nowhere.

    Whoever has it may ask the API by network as if they were here: docs/api.md.
    """
    from holdfast.service.api_tokens import ApiTokens, TokenScope

    try:
        wanted = TokenScope(scope)
    except ValueError:
        raise InvalidOption(f"{scope!r} is no scope", "Use read or change.") from None
    seconds = None if expires == math.inf else expires
    with session() as holdfast:
        for each in volume or ():
            holdfast.catalog.volume(each)
        made, report = ApiTokens(holdfast.settings).create(name, wanted, volume or None, seconds)
    if as_json:
        print_json({"token": made, **vars(report)})
        return
    say(made)
    until = "for ever" if report.expires is None else f"until {time_text(report.expires)} UTC"
    where = ", ".join(report.volumes) if report.volumes else "the whole host"
    note(f"{name} may {wanted} {where}, {until}: holdfast token revoke {name}")
    note("it is shown only now, and kept nowhere")


@commands.command("list")
def list_tokens(as_json: AsJson = False) -> None:
    """List tokens: what each may do, and until when."""
    from holdfast.service.api_tokens import ApiTokens

    with session() as holdfast:
        found = ApiTokens(holdfast.settings).show()
    if as_json:
        print_json(found)
    elif found:
        rows = [
            (
                each.name,
                each.id,
                str(each.scope),
                "all" if each.volumes is None else ", ".join(each.volumes),
                _NEVER if each.expires is None else time_text(each.expires),
                "expired" if each.expired else "",
            )
            for each in found
        ]
        print_table(("token", "id", "may", "volumes", "expires (UTC)", ""), rows)
    else:
        note("Nobody may ask the API by network: holdfast token create --help")


@commands.command()
def revoke(
    name: Annotated[str, typer.Argument(metavar="TOKEN", help="Its name, or its id.")],
) -> None:
    """Let a token count no longer; streams that it has open end within seconds."""
    from holdfast.service.api_tokens import ApiTokens

    with session() as holdfast:
        ApiTokens(holdfast.settings).revoke(name)
    note(f"{name} counts no longer")
