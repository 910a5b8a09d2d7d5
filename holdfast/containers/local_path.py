"""Addresses that are a path on this host, as image files and block devices have."""

from __future__ import annotations

import os.path

from holdfast.errors import InvalidUrl
from holdfast.model.container import ContainerUrl


def parse_local_path(kind: str, text: str) -> ContainerUrl:
    """The address with that path after `kind:`, normalised; links stay. Raises InvalidUrl."""
    if not text.startswith("/") or "\0" in text or "\n" in text:
        raise InvalidUrl(f"'{kind}:{text}' has no absolute path", f"Write {kind}:/absolute/path.")
    return ContainerUrl(kind, os.path.normpath("/" + text.lstrip("/")))
