"""Containers: where the bytes of a volume live, one kind per file, one Protocol for all."""

from __future__ import annotations

from collections.abc import Callable

from holdfast.containers.block import BlockContainer
from holdfast.containers.file import FileContainer
from holdfast.containers.protocol import Container
from holdfast.model.container import ContainerUrl, parse_container_url

__all__ = ["CONTAINERS", "Container", "open_container"]

CONTAINERS: dict[str, Callable[[ContainerUrl], Container]] = {
    "file": FileContainer,
    "block": BlockContainer,
}


def open_container(url: str | ContainerUrl) -> Container:
    """The container at this URL. Raises InvalidUrl; does not touch the storage."""
    address = parse_container_url(url) if isinstance(url, str) else url
    return CONTAINERS[address.kind](address)
