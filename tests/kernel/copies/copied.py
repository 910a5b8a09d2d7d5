"""What tests of copies share: a moment and its bytes, and what copies make of it."""

from __future__ import annotations

import subprocess
import uuid
from functools import partial
from pathlib import Path

from holdfast.copies import images, tasks
from holdfast.copies.work import carried_out
from holdfast.gate.log.history.layout import volume_in_history
from holdfast.model.copy import VolumeCopy
from holdfast.model.reporter import SILENT
from holdfast.service import Holdfast
from tests.kernel.volume.stack import SIZE
from tests.waiting import wait_until


def stood(holdfast: Holdfast, mount: Path, folder: Path, name: str = "shop") -> tuple[int, bytes]:
    """A position at which nobody writes, and the volume's bytes there."""
    subprocess.run(["fsfreeze", "--freeze", mount], check=True)
    try:
        gate = holdfast.show_volume(name).gate
        assert gate is not None
        position = int(str(gate.journal["position"]))
        data = (folder / f"{name}.img").read_bytes()[:SIZE]
    finally:
        subprocess.run(["fsfreeze", "--unfreeze", mount], check=True)
    wait_until(lambda: holdfast.histories.show(name).position >= position)
    return position, data


def image_at(copy: VolumeCopy, history: Path, position: int, folder: Path) -> bytes:
    """The bytes of a clone that is not mounted."""
    url = f"file:{folder}/raw.img"
    half = VolumeCopy(
        id=uuid.uuid4().hex,
        volume=copy.volume,
        volume_id=copy.volume_id,
        url=url,
        size_bytes=copy.size_bytes,
        position=copy.position,
        made=0.0,
        inode=images.make_image(url, copy.size_bytes),
    )
    identity = volume_in_history(copy.volume_id)
    carried_out(partial(tasks.duplicate, copy, half), SILENT, url)
    places = position, half.size_bytes
    carried_out(partial(tasks.bring, half, history, identity, places), SILENT, url)
    path = folder / "raw.img"
    data = path.read_bytes()
    path.unlink()
    return data


def forgotten(holdfast: Holdfast, name: str, folder: Path) -> None:
    """Take a clone away, image and all."""
    holdfast.detach_volume(name)
    holdfast.delete_volume(name)
    (folder / f"{name}.img").unlink()
    (folder / name).rmdir()
