"""A gate that stands still is in nobody's way who makes a volume: what it shows is known."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast.config import Settings
from holdfast.gate.outside.client import GateClient
from holdfast.system.storage.loop_note import noted_filesystem
from holdfast.volumes.gate_device import gate_device
from tests.faults import FuseLeg
from tests.hanging_reader import hanging_reader
from tests.kernel.volume.stack import SIZE, volume, wish

LEG_BYTES = SIZE + (64 << 20)


@contextmanager
def gate_that_cannot_be_asked(settings: Settings, folder: Path) -> Iterator[None]:
    """A gate whose only leg hangs; whoever opens its device waits, as somebody closes it."""
    served = FuseLeg(folder / "behind.img", folder / "served.img", LEG_BYTES)
    with served as leg, volume(settings, wish(folder, leg.url, name="stuck")) as made:
        subprocess.run(["umount", made.mount.path], check=True)
        [device] = gate_device().devices(settings, made.name)
        leg.hang()
        reader = hanging_reader(device)
        try:
            yield
        finally:
            leg.serve()
            GateClient(settings.gate_run_directory(made.name)).release()
            reader.wait()


def test_a_volume_is_made_of_an_image_that_somebody_writes_to(
    settings: Settings, ram_directory: Path
) -> None:
    image = ram_directory / "leg.img"
    with gate_that_cannot_be_asked(settings, ram_directory), image.open("wb") as file:
        file.truncate(LEG_BYTES)
        wanted = wish(ram_directory, f"file:{image}", name="beside")
        with volume(settings, wanted) as made:
            assert Path(made.mount.path).is_mount()


def test_what_is_noted_is_where_the_gate_shows_its_file(
    settings: Settings, ram_directory: Path
) -> None:
    with volume(settings, wish(ram_directory)) as made:
        [device] = gate_device().devices(settings, made.name)
        shown = settings.gate_run_directory(made.name) / "device"
        assert noted_filesystem(device) == shown.stat().st_dev
