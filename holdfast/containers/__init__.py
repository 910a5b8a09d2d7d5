"""Containers: where the bytes of a volume live, one kind per file, one Protocol for all.

A kind knows everything about itself. Nobody outside asks which kind a container is: what others
need to know is a trait (`Container.traits`), or a question to the container.
"""

from __future__ import annotations

from holdfast.containers.back_end import BackEnd, DescriptorBackEnd
from holdfast.containers.block import BlockContainer
from holdfast.containers.file import FileContainer
from holdfast.containers.past import PastContainer, make_past, past_url, remove_past
from holdfast.containers.protocol import Container, Place, SharedRoom, Traits
from holdfast.errors import InvalidUrl
from holdfast.model.container import ContainerUrl

__all__ = [
    "CONTAINERS",
    "BackEnd",
    "Container",
    "DescriptorBackEnd",
    "Place",
    "SharedRoom",
    "Traits",
    "device_behind",
    "device_url",
    "image_behind",
    "image_url",
    "is_container_url",
    "is_named_by_people",
    "make_past",
    "open_container",
    "parse_container_url",
    "past_url",
    "path_of",
    "remove_past",
]

CONTAINERS: dict[str, type[Container]] = {
    "file": FileContainer, "block": BlockContainer, "past": PastContainer,
}  # fmt: skip

_EXAMPLES = [each.example for each in CONTAINERS.values() if each.traits.is_named_by_people]


def parse_container_url(text: str) -> ContainerUrl:
    """The parts of a container URL, normalised. Raises InvalidUrl; does not touch the container."""
    kind, separator, rest = text.partition(":")
    if not separator or kind not in CONTAINERS:
        raise InvalidUrl(
            f"{text!r} names no kind of container that Holdfast knows",
            f"Write {' or '.join(_EXAMPLES)}.",
        )
    return CONTAINERS[kind].parse(rest)


def open_container(url: str | ContainerUrl) -> Container:
    """The container at this URL. Raises InvalidUrl; does not touch the storage."""
    address = parse_container_url(url) if isinstance(url, str) else url
    return CONTAINERS[address.kind](address)


def is_named_by_people(url: str) -> bool:
    """Whether a container is one that commands take. Raises InvalidUrl."""
    return open_container(url).traits.is_named_by_people


def is_container_url(source: str) -> bool:
    """Whether this names a container, and not a directory or what mount(8) takes."""
    kind, separator, _ = source.partition(":")
    return bool(separator) and kind in CONTAINERS


def image_behind(source: str) -> str:
    """The path of the image file that this source is; empty when it is something else."""
    container = _container_behind(source)
    return container.image_path if container is not None else ""


def device_behind(source: str) -> str:
    """The path of the block device that this source is; empty when it is something else."""
    container = _container_behind(source)
    return container.device_path if container is not None else ""


def _container_behind(source: str) -> Container | None:
    """The container that a recorded source names: whoever made the mount may have called it so."""
    try:
        return open_container(source)
    except InvalidUrl:
        return None


def path_of(url: str) -> str:
    """The path of an image or a device on this host. Raises InvalidUrl; empty: it has none."""
    container = open_container(url)
    return container.image_path or container.device_path


def image_url(path: object) -> str:
    """The URL of an image file at an absolute path."""
    return str(ContainerUrl("file", str(path)))


def device_url(path: object) -> str:
    """The URL of a block device at an absolute path."""
    return str(ContainerUrl("block", str(path)))
