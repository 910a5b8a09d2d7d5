"""The way from a command to the service: imported late, because it brings the catalog along."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.service import Holdfast


@contextmanager
def session() -> Iterator[Holdfast]:
    """Holdfast on this host, with the settings of the environment; closed afterwards."""
    from holdfast.config import Settings
    from holdfast.service.session import opened

    with opened(Settings(), "command") as holdfast:
        yield holdfast
