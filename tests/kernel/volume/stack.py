"""A volume under test, built through holdfast.volumes alone: no catalog, no command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from holdfast.config import Settings
from holdfast.errors import HoldfastError
from holdfast.gate.outside.client import GateClient
from holdfast.model.volume import JournalMode, MountProperties, Volume
from holdfast.volumes.create import create_volume
from holdfast.volumes.delete import delete_volume

SIZE = 64 << 20


def wish(
    folder: Path,
    *leg_urls: str,
    name: str = "shop",
    size_bytes: int = SIZE,
    filesystem: str = "ext4",
    options: str = "",
    spare_urls: tuple[str, ...] = (),
    journal: JournalMode = JournalMode.UNFLUSHED,
) -> Volume:
    """A volume that is to be created, mounted inside `folder`; with one image there by default."""
    return Volume(
        name=name,
        id="",
        kind="gated",
        size_bytes=size_bytes,
        mount=MountProperties(str(folder / f"mnt-{name}"), filesystem, options),
        leg_urls=leg_urls or (f"file:{folder}/{name}-1.img",),
        spare_urls=spare_urls,
        journal=journal,
        hold_timeout_seconds=20.0,
    )


@contextmanager
def volume(settings: Settings, wanted: Volume) -> Iterator[Volume]:
    """The volume, created and attached; deleted afterwards, whatever state it is in."""
    made = create_volume(settings, wanted)
    try:
        yield made
    finally:
        with suppress(HoldfastError):
            GateClient(settings.gate_run_directory(made.name)).release()
        delete_volume(settings, made)
