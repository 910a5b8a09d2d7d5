"""The source of a copy: while applications run, and again after the dismount.

Asks storage in expendable children only. Must never change anything.
"""

from __future__ import annotations

from pathlib import Path

from holdfast.adopted.nameless_image import nameless_image
from holdfast.adopted.properties import primary
from holdfast.containers import image_behind, is_container_url, path_of
from holdfast.errors import Blocked
from holdfast.model.volume import Volume
from holdfast.restoration.assessing.assess import Assessment
from holdfast.restoration.copying.sides import CopySource
from holdfast.restoration.storage.origin import options_of_contents
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.storage.filesystem import identify


def source_of(assessment: Assessment) -> CopySource:
    """What the online copy reads. Raises Blocked, HoldfastError."""
    request = assessment.facts.request
    if not request.contents:
        return _whole(assessment)
    if not is_container_url(request.contents):
        place = Path(request.contents)
        return CopySource(
            path=in_expendable_child(lambda: str(place.resolve()), doing=request.contents)
        )
    path = path_of(request.contents)
    found = in_expendable_child(lambda: identify(path), doing=request.contents)
    if found is None or not found.type:
        raise Blocked(
            f"{request.contents} holds no file system", "Name a container that holds one."
        )
    return CopySource(
        device=path,
        filesystem=found.type,
        # What is older is often a copy of the volume itself.
        options=",".join(options_of_contents(found.type)),
        is_image=bool(image_behind(request.contents)),
        sector_bytes=512,  # every file system can be mounted from smaller sectors than its own
    )


def _whole(assessment: Assessment) -> CopySource:
    """The whole file system, also where only a directory or subvolume of it is mounted."""
    path = assessment.facts.request.volume.mount.path
    point = primary(assessment.facts.points, path)
    if not point.inside:
        return CopySource(path=path)
    if not point.source.startswith("/dev/"):
        raise Blocked(
            f"only /{point.inside} of {point.source} is mounted at {path}",
            "Mount all of it somewhere, and adopt that.",
        )
    return CopySource(
        device=point.source,
        filesystem=point.filesystem,
        options=_top_level(point.filesystem),
        read_only="ro" in point.super_options.split(","),
    )


def _top_level(filesystem: str) -> str:
    """The option that shows all of a file system, whatever its default is (btrfs(5))."""
    return "subvolid=5" if filesystem == "btrfs" else ""


def device_of(volume: Volume, assessment: Assessment) -> CopySource | None:
    """The volume's block device, which is read again after the dismount; None: it has none."""
    point = assessment.facts.points[-1]
    if not point.source.startswith("/dev/"):
        return None
    filesystem = volume.mount.filesystem
    options = _top_level(filesystem)
    image = image_behind(volume.adoption.source) if volume.adoption is not None else ""
    if volume.adoption is None or not image:
        return CopySource(device=point.source, filesystem=filesystem, options=options)
    words = dict(
        word.partition("=")[::2] for word in volume.adoption.loop_options.split(",") if word
    )
    if "autoclear" not in words or nameless_image(point):
        return CopySource(device=point.source, filesystem=filesystem, options=options)
    return CopySource(
        device=image,
        filesystem=filesystem,
        options=options,
        is_image=True,
        offset_bytes=int(words.get("offset", 0)),
        size_bytes=int(words.get("sizelimit", 0)),
        sector_bytes=int(words.get("sector-size", 512)),
    )
