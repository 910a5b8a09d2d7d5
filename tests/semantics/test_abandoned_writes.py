"""Claim: what an abandoned request writes late never lands on a leg that is in use again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from holdfast.config import Settings
from holdfast.gate.outside.client import GateClient
from holdfast.volumes.detach import detach_volume
from tests.kernel.fault.bench import fuse_leg
from tests.kernel.volume.stack import volume, wish
from tests.semantics.writing import prepare, read, write
from tests.waiting import wait_until

HANG_SECONDS = 0.5


def test_a_newer_write_stays(settings: Settings, ram_directory: Path) -> None:
    other = ram_directory / "other.img"
    with fuse_leg(ram_directory) as leg:
        wanted = replace(
            wish(ram_directory, leg.url, f"file:{other}"), hang_timeout_seconds=HANG_SECONDS
        )
        with volume(settings, wanted) as made:
            file = Path(made.mount.path) / "file"
            prepare(file, 4)
            leg.stop()  # its queue keeps what comes now, and writes it when it goes on
            assert write(file, 1, 1111, sync=True).wait(30) == 0
            gate = GateClient(settings.gate_run_directory(made.name))
            assert gate.show()["legs"][0]["state"] == "failed"
            assert write(file, 1, 2222, sync=True).wait(30) == 0
            leg.resume()
            wait_until(lambda: gate.show()["legs"][0]["state"] == "in-sync")
            assert read(file, 1) == 2222
            detach_volume(settings, made)
            for image in (leg.image, other):
                content = image.read_bytes()
                assert (2222).to_bytes(8, "little") * 512 in content
                assert (1111).to_bytes(8, "little") * 512 not in content
