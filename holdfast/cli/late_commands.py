"""Every command by its name, loaded and built when it is looked up: most calls need one of them.

Typer would build all of them first, a fifth of the time of a short command:
docs/decisions/0077-dataclasses-made-late.md.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import Any

import typer
import typer.core

_PLACES = {
    "status": "status.status",
    "daemon": "daemon.daemon",
    "api": "api.api",
    "dashboard": "dashboard.dashboard",
    "drill": "drill.drill",
    "history": "history.history",
    "clone": "clone.clone",
    "files": "files.files",
    "users": "users.users",
    "freeze": "freeze.freeze",
    "thaw": "freeze.thaw",
    "assess": "assess.assess",
    "migrate": "migrate.migrate",
    "restore": "restore.restore",
    "rebind": "rebind.rebind",
    "recover": "recover.recover",
    "doctor": "doctor.doctor",
    "explain": "explain.explain",
    "demo": "demo.demo",
    "completion": "completion.completion",
    "manual": "completion.manual",
    "volume": "gating.commands",
    "leg": "leg.commands",
    "copy": "copy.commands",
    "point": "point.commands",
    "receipt": "receipt.commands",
    "alert": "alert.commands",
    "policy": "policy.commands",
    "token": "token.commands",
}
"""Module and name in `commands/`, of a function or of a family of commands (a Typer), in the order
of `--help`."""


class LateCommands(typer.core.TyperGroup):
    """What is below `holdfast`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = _Built(self.commands)


class _Built(MutableMapping[str, Any]):
    """Commands of Click by their names; those of `_PLACES` are built when they are asked for."""

    def __init__(self, further: MutableMapping[str, Any]) -> None:
        self._built = dict(further)
        self._names = dict.fromkeys((*_PLACES, *further))

    def __getitem__(self, name: str) -> Any:
        if name not in self._built and name in self._names:
            module, _, called = _PLACES[name].partition(".")
            found = getattr(import_module(f"holdfast.cli.commands.{module}"), called)
            self._built[name] = _command(name, found)
        return self._built[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._names[name] = None
        self._built[name] = command

    def __delitem__(self, name: str) -> None:
        del self._names[name]
        self._built.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _command(name: str, found: Any) -> Any:
    """As Typer builds it below another command."""
    around = typer.Typer(rich_markup_mode=None)
    if isinstance(found, typer.Typer):
        around.add_typer(found, name=name)
    else:
        around.command(name=name)(found)
    return typer.main.get_group(around).commands[name]
