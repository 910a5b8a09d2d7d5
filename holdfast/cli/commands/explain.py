"""holdfast explain: what an error code means."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from holdfast.cli.options import AsJson
from holdfast.cli.output import print_json, print_table, say_folded
from holdfast.error_codes import by_code, leaves
from holdfast.errors import HoldfastError, InvalidOption


def explain(
    code: Annotated[
        str | None, typer.Argument(metavar="[CODE]", help="As in error[CODE]; all without it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Explain an error code; without one, list them all."""
    if code is None:
        _list_all(as_json)
        return
    leaf = by_code(code)
    if leaf is None:
        raise InvalidOption(
            f"{code!r} is not an error code", "holdfast explain lists those that exist."
        )
    if as_json:
        print_json(_as_json(leaf))
        return
    say_folded(f"{leaf.code}: {_sentences(leaf)}\n\nexit status: {leaf.exit_status}")


def _list_all(as_json: bool) -> None:
    if as_json:
        print_json([_as_json(leaf) for leaf in leaves()])
        return
    rows = [(leaf.code, str(leaf.exit_status), _first_sentence(leaf)) for leaf in leaves()]
    print_table(("code", "exit", "meaning"), rows, right=("exit",))


def _as_json(leaf: type[HoldfastError]) -> dict[str, Any]:
    return {
        "code": leaf.code,
        "error": leaf.__name__,
        "exit_status": leaf.exit_status,
        "explanation": _sentences(leaf),
    }


def _sentences(leaf: type[HoldfastError]) -> str:
    return " ".join((leaf.__doc__ or "").split())


def _first_sentence(leaf: type[HoldfastError]) -> str:
    return _sentences(leaf).partition(". ")[0].rstrip(".") + "."
