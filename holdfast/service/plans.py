"""What commands would do, in words: for --dry-run and for the question before destruction.

Pure: values in, sentences out. Must never promise a check that was not made.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.containers import image_behind
from holdfast.errors import InvalidSize, NoSuchLeg
from holdfast.model.finding import Finding
from holdfast.model.size import format_size
from holdfast.model.volume import LegReport, LegState, Volume, VolumeReport

ID_BEGINNING_CHARACTERS = 4
"""Shorter beginnings of ids could be meant as numbers: `leg remove NAME 1` is about leg 1."""


def creation(volume: Volume) -> tuple[str, ...]:
    """The steps of creating this volume."""
    default = () if volume.leg_urls else ("create an image in the state directory as its leg",)
    return (
        *default,
        *(
            f"take {url} as a leg, creating the image where there is none"
            for url in volume.leg_urls
        ),
        *(f"keep {url} as a spare" for url in volume.spare_urls),
        f"start a gate with {format_size(volume.size_bytes)}, journal {volume.journal}",
        f"make {volume.mount.filesystem} with the label {volume.mount.label!r}",
        f"mount it at {volume.mount.path}",
    )


def enlargement(volume: Volume, size_bytes: int) -> tuple[str, ...]:
    """The steps of enlarging this volume. Raises InvalidSize when it would shrink."""
    if size_bytes < volume.size_bytes:
        raise InvalidSize(
            f"{volume.name} has {format_size(volume.size_bytes)} already; volumes do not shrink",
            "Give a larger size, or create a smaller volume and copy the files.",
        )
    sizes = f"{format_size(volume.size_bytes)} to {format_size(size_bytes)}"
    return (
        *(f"enlarge {url}" for url in volume.leg_urls),
        f"enlarge the gate from {sizes}",
        f"enlarge {volume.mount.filesystem} at {volume.mount.path}",
    )


def adoption(volume: Volume, limits: Sequence[Finding]) -> tuple[str, ...]:
    """What adopting this mount records, and what will not be possible with it."""
    adopted = volume.adoption
    assert adopted is not None
    count = len(adopted.points)
    places = "" if count == 1 else f", and its {count - 1} other mounts"
    return (
        f"record {volume.mount.filesystem} from {adopted.source} at {volume.mount.path}{places}",
        "mount nothing, write nothing, put nothing into the data path",
        *(f"note: {finding.found}: {finding.meaning}" for finding in limits),
    )


def deletion(volume: Volume, keep_images: bool) -> tuple[str, ...]:
    """The steps of deleting this volume."""
    if volume.is_adopted:
        return ("forget its catalog entry; its mount, its data and its receipts stay",)
    urls = volume.leg_urls + volume.spare_urls
    images = [url for url in urls if image_behind(url)]
    others = [url for url in urls if not image_behind(url)]
    return (
        f"dismount {volume.mount.path} and stop the gate, where they are there",
        *(f"{'keep' if keep_images else 'delete'} {url}" for url in images),
        *(f"release {url}" for url in others),
        "forget its journal and its catalog entry; its receipts stay",
    )


def find_leg(report: VolumeReport, wanted: str) -> LegReport:
    """The leg or spare with that number, id (or its beginning) or URL. Raises NoSuchLeg."""
    exact = [
        leg
        for leg in report.legs
        if (wanted and wanted in (leg.id, leg.url))
        or (leg.state is not LegState.SPARE and wanted == str(leg.number))
    ]
    begins = [
        leg
        for leg in report.legs
        if len(wanted) >= ID_BEGINNING_CHARACTERS and leg.id.startswith(wanted)
    ]
    for found in (exact, begins):
        if len(found) == 1:
            return found[0]
    known = ", ".join(f"{leg.number} ({leg.url})" for leg in report.legs)
    raise NoSuchLeg(
        f"{report.name} has no leg {wanted!r}", f"It has {known}." if known else "It has none."
    )
