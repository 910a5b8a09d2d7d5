"""What someone asks for when creating a volume, checked as far as values alone can tell."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass

from holdfast.config import Settings
from holdfast.errors import InvalidOption
from holdfast.gate.post import SOCKET_FILE
from holdfast.model.container import parse_container_url
from holdfast.model.volume import (
    JournalMode,
    MountProperties,
    Volume,
    check_name,
)

LONGEST_SOCKET_PATH_BYTES = 107
"""unix(7): sun_path has 108 bytes, one of them ends it."""

_UNUSABLE_MOUNT_PATHS = ("/", "/dev", "/proc", "/sys", "/run", "/etc", "/usr", "/var", "/boot")


@dataclass(frozen=True)
class NewVolume:
    """A volume that does not exist yet."""

    name: str
    size_bytes: int
    mount_path: str
    filesystem: str = "ext4"
    leg_urls: tuple[str, ...] = ()
    """Empty: one image in the state directory."""
    spare_urls: tuple[str, ...] = ()
    journal: str = JournalMode.UNFLUSHED.value
    hold_timeout_seconds: float = 600.0
    hang_timeout_seconds: float = 5.0
    options: str = ""
    label: str = ""

    def as_volume(self) -> Volume:
        """The volume with an identity of its own and normalised URLs; touches nothing.

        Raises BadInput for values that cannot be meant. Whether the host can do it is for
        `holdfast.volumes` to say.
        """
        if self.journal not in tuple(JournalMode):
            raise InvalidOption(
                f"{self.journal!r} is no journal mode", f"Use {' or '.join(JournalMode)}."
            )
        return Volume(
            name=check_name(self.name),
            id=str(uuid.uuid4()),
            kind="gated",
            size_bytes=self.size_bytes,
            mount=MountProperties(
                path=_checked_mount_path(self.mount_path),
                filesystem=self.filesystem,
                options=_checked_words("--options", self.options),
                label=_checked_words("--label", self.label or self.name),
            ),
            leg_urls=tuple(str(parse_container_url(url)) for url in self.leg_urls),
            spare_urls=tuple(str(parse_container_url(url)) for url in self.spare_urls),
            journal=JournalMode(self.journal),
            hold_timeout_seconds=self.hold_timeout_seconds,
            hang_timeout_seconds=self.hang_timeout_seconds,
        )


def check_socket_path(settings: Settings, name: str) -> None:
    """Raise InvalidOption when the gate's socket would have a path that the kernel refuses."""
    path = settings.gate_run_directory(name) / SOCKET_FILE
    if len(os.fsencode(path)) > LONGEST_SOCKET_PATH_BYTES:
        raise InvalidOption(
            f"{path} is too long for a socket: {LONGEST_SOCKET_PATH_BYTES} bytes at most",
            "Set HOLDFAST_HOME to a shorter path, or shorten the volume's name.",
        )


def _checked_mount_path(path: str) -> str:
    if not path.startswith("/") or not path.isprintable():
        raise InvalidOption(
            f"--mount {path!r} is not an absolute path", "Write it from the root: /srv/data."
        )
    normal = os.path.normpath("/" + path.lstrip("/"))
    if normal in _UNUSABLE_MOUNT_PATHS:
        raise InvalidOption(
            f"mounting over {normal} would hide the system", "Use a directory of its own."
        )
    return normal


def _checked_words(option: str, text: str) -> str:
    if not text.isprintable() or text.startswith("-"):
        raise InvalidOption(f"{option} {text!r} cannot be meant", "Use printable characters.")
    return text
