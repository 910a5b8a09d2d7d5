"""Containers whose address is a path on this host, as image files and block devices have."""

from __future__ import annotations

import os.path
from pathlib import Path
from typing import ClassVar

from holdfast.errors import ContainerFailed, InUse, InvalidUrl
from holdfast.model.container import ContainerUrl


class LocalPath:
    """What they share: the address, whether something is there, and how a failure is told."""

    kind: ClassVar[str]
    """What stands before the colon."""
    below: ClassVar[str]
    """What an administrator repairs when it fails."""

    def __init__(self, url: ContainerUrl) -> None:
        self._url = url
        self._path = Path(url.path)

    @classmethod
    def parse(cls, text: str) -> ContainerUrl:
        """The address with this absolute path, normalised; links stay. Raises InvalidUrl."""
        if not text.startswith("/") or "\0" in text or "\n" in text:
            raise InvalidUrl(
                f"'{cls.kind}:{text}' has no absolute path", f"Write {cls.kind}:/absolute/path."
            )
        return ContainerUrl(cls.kind, os.path.normpath("/" + text.lstrip("/")))

    @property
    def url(self) -> str:
        """The URL, normalised."""
        return str(self._url)

    def exists(self) -> bool:
        """Whether the path exists; blocks as the storage does. Raises ContainerFailed."""
        try:
            self._path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise self._failed("cannot be examined", error) from error
        return True

    def _locked(self) -> InUse:
        return InUse(
            f"{self._path} is locked by another process",
            "It is a leg of an attached volume: holdfast volume list.",
        )

    def _failed(self, what: str, error: OSError) -> ContainerFailed:
        return ContainerFailed(
            f"{self._path} {what}: {error.strerror or error}",
            f"Repair {self.below}, or use another container.",
        )
