"""What the daemon's sources see of volumes now, for whoever asks: `status`.

Owns that nobody is shown what a daemon saw that does not watch any more. Loads little: `status` is
asked often.
"""

from __future__ import annotations

from contextlib import suppress

from holdfast.config import Settings
from holdfast.errors import HoldfastError
from holdfast.model.evidence import Evidence
from holdfast.policy.memory import read_post
from holdfast.policy.watching import watcher


def seen(settings: Settings) -> tuple[Evidence, ...]:
    """As of the daemon's last look; none when none watches, or where it cannot be read."""
    with suppress(HoldfastError, OSError, ValueError):
        if watcher(settings.run_directory):
            return read_post(settings.state_directory).evidence
    return ()
