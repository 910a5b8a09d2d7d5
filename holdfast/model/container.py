"""The address of a container: `file:/path.img`, `block:/dev/name`."""

from __future__ import annotations

import os.path
from dataclasses import dataclass

from holdfast.errors import InvalidUrl


@dataclass(frozen=True)
class ContainerUrl:
    """Kind and absolute path of a container. `str()` gives the URL back."""

    kind: str
    path: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.path}"


KINDS = ("file", "block")


def parse_container_url(text: str) -> ContainerUrl:
    """The parts of a container URL. Raises InvalidUrl; does not touch the container."""
    kind, separator, path = text.partition(":")
    if not separator or kind not in KINDS:
        raise InvalidUrl(
            f"{text!r} names no kind of container that Holdfast knows",
            "Write file:/absolute/path.img or block:/dev/name.",
        )
    if not path.startswith("/") or "\0" in path or "\n" in path:
        raise InvalidUrl(f"{text!r} has no absolute path", f"Write {kind}:/absolute/path.")
    return ContainerUrl(kind, os.path.normpath("/" + path.lstrip("/")))
