"""The way from a command to the service: imported late, because it brings the catalog along."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

LOG_FILE = "holdfast.log"
"""In the state directory, where there is no systemd journal."""

if TYPE_CHECKING:
    from holdfast.service import Holdfast


@contextmanager
def session() -> Iterator[Holdfast]:
    """Holdfast on this host, with the settings of the environment; closed afterwards."""
    from holdfast.config import Settings
    from holdfast.service import Holdfast
    from holdfast.system.messages import logs, unwaited

    settings = Settings()
    logs.set_up("command", write=logs.into_file(settings.state_directory / LOG_FILE))
    try:
        with Holdfast(settings) as holdfast:
            yield holdfast
    finally:
        unwaited.wait_until_written()
