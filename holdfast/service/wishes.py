"""What someone asks for when creating a volume, checked as far as values alone can tell."""

from __future__ import annotations

import os.path
import uuid
from dataclasses import dataclass

from holdfast.config import Settings
from holdfast.errors import InvalidOption
from holdfast.model.container import parse_container_url
from holdfast.model.size import parse_size
from holdfast.model.volume import (
    FILE_SYSTEMS,
    JournalMode,
    MountProperties,
    Volume,
    check_name,
)

_UNUSABLE_MOUNT_PATHS = ("/", "/dev", "/proc", "/sys", "/run", "/etc", "/usr", "/var", "/boot")


@dataclass(frozen=True)
class NewVolume:
    """A volume that does not exist yet."""

    name: str
    size_bytes: int
    mount_path: str
    filesystem: str = "ext4"
    leg_urls: tuple[str, ...] = ()
    """None: one image in the state directory."""
    spare_urls: tuple[str, ...] = ()
    journal: str = JournalMode.UNFLUSHED.value
    hold_timeout_seconds: float = 600.0
    hang_timeout_seconds: float = 5.0
    options: str = ""
    label: str = ""

    def as_volume(self, settings: Settings) -> Volume:
        """The volume with an identity of its own and normalised URLs.

        Raises BadInput for values that cannot be meant; touches nothing.
        """
        check_name(self.name)
        parse_size(str(self.size_bytes))
        if self.filesystem not in FILE_SYSTEMS:
            raise InvalidOption(
                f"{self.filesystem!r} is not a file system that Holdfast makes",
                f"Use --fs {', '.join(FILE_SYSTEMS[:-1])} or {FILE_SYSTEMS[-1]}.",
            )
        if self.journal not in tuple(JournalMode):
            raise InvalidOption(
                f"{self.journal!r} is no journal mode", f"Use {' or '.join(JournalMode)}."
            )
        default = f"file:{settings.state_directory.absolute()}/legs/{self.name}.img"
        legs = tuple(str(parse_container_url(url)) for url in self.leg_urls or (default,))
        spares = tuple(str(parse_container_url(url)) for url in self.spare_urls)
        _refuse_doubles(legs + spares)
        return Volume(
            name=self.name,
            id=str(uuid.uuid4()),
            kind="gated",
            size_bytes=self.size_bytes,
            mount=MountProperties(
                path=_checked_mount_path(self.mount_path),
                filesystem=self.filesystem,
                options=_checked_words("--options", self.options),
                label=_checked_words("--label", self.label),
            ),
            leg_urls=legs,
            spare_urls=spares,
            journal=JournalMode(self.journal),
            hold_timeout_seconds=self.hold_timeout_seconds,
            hang_timeout_seconds=self.hang_timeout_seconds,
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


def _refuse_doubles(urls: tuple[str, ...]) -> None:
    for url in urls:
        if urls.count(url) > 1:
            raise InvalidOption(f"{url} is given twice", "Each leg needs a container of its own.")
