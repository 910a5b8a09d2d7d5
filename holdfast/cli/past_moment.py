"""A moment that has to be looked for: `before PATH vanished`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.cli.output import note, stepped_progress
from holdfast.model.moment import vanished_path
from holdfast.system.messages.printable import printable

if TYPE_CHECKING:
    from holdfast.service import Holdfast


def settled(holdfast: Holdfast, name: str, at: str) -> str:
    """The position that is meant, after saying what was found; any other moment as it is."""
    path = vanished_path(at)
    if not path:
        return at
    with stepped_progress(f"looking for {path}") as reporter:
        found = holdfast.histories.vanishings.find(name, path, reporter)
    note(found.words(printable(path)))
    return found.when
