"""PostgreSQL under load while a leg goes, a spare comes, and keeper and worker are killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.gate.outside.client import GateClient
from holdfast.volumes.attach import attach_volume
from holdfast.volumes.detach import detach_volume
from tests.faults import truncate_to_zero
from tests.kernel.volume.stack import volume, wish
from tests.resume.killing import Killer, assert_nobody_noticed, keeper, worker
from tests.resume.verifying import check_filesystem
from tests.scenarios.postgresql import Cluster
from tests.scenarios.stories import Story
from tests.waiting import wait_until


@pytest.mark.timeout(300)
def test_no_transaction_fails(holdfast_home: Path, ram_directory: Path) -> None:
    settings = Settings()
    images = [ram_directory / f"{number}.img" for number in range(3)]
    first, second, spare = (f"file:{image}" for image in images)
    wanted = wish(ram_directory, first, second, spare_urls=(spare,), size_bytes=512 << 20)
    with volume(settings, wanted) as made:
        run_directory = settings.gate_run_directory(made.name)
        gate = GateClient(run_directory)

        def story() -> None:
            truncate_to_zero(images[0])
            wait_until(
                lambda: first not in [leg["url"] for leg in gate.show()["legs"]],
            )
            wait_until(
                lambda: all(leg["state"] == "in-sync" for leg in gate.show()["legs"]),
            )
            killer = Killer(run_directory, 6, (keeper, worker), seed=5)
            killer.start()
            killer.finish()
            gate.fault("leg-eio", second, 0.5)
            wait_until(
                lambda: any(leg["state"] == "failed" for leg in gate.show()["legs"]),
            )
            wait_until(
                lambda: all(leg["state"] == "in-sync" for leg in gate.show()["legs"]),
            )

        cluster_directory = Path(made.mount.path) / "cluster"
        with Cluster(cluster_directory, ram_directory / "pg") as cluster:
            telling = Story(story)
            telling.start()
            load = cluster.load(until=lambda: not telling.is_alive())
            telling.finish()
            cluster.check(load)
        assert_nobody_noticed(run_directory)
        detach_volume(settings, made)
        for image in images[1:]:
            check_filesystem(image, "ext4")
        attach_volume(settings, made)
        with Cluster(cluster_directory, ram_directory / "pg") as cluster:
            cluster.check(load)
