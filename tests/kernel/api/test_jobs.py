"""Root creates a volume by the API, follows what happens, reads what there is, deletes it."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from tests.kernel.api.serving import api, client
from tests.waiting import wait_until

Run = Callable[..., Any]


def told(asking: httpx.Client, job: str, after: int = 0) -> list[tuple[int, str, Any]]:
    """Everything that a job tells, until its end: number, kind, values."""
    found = []
    with asking.stream(
        "GET", f"/v1/jobs/{job}/events", headers={"last-event-id": str(after)}
    ) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for block in stream.read().decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines() if line[0] != ":")
            if fields:
                number = int(fields["id"])
                found.append((number, fields["event"], json.loads(fields["data"])))
    return found


def begun(asking: httpx.Client, operation: str, **request: object) -> str:
    """The id of a job."""
    answer = asking.post(f"/v1/operations/{operation}", json=request)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/v1/jobs/{answer.json()['id']}"
    return str(answer.json()["id"])


def test_a_volume_from_its_beginning_to_its_end(run_holdfast: Run, ram_directory: Path) -> None:
    mount = ram_directory / "mnt"
    legs = [f"file:{ram_directory}/{name}.img" for name in "ab"]
    with ExitStack() as stack:
        stack.enter_context(api())
        asking = stack.enter_context(client())
        job = begun(
            asking, "create", name="shop", size_bytes=64 << 20, mount_path=str(mount), leg_urls=legs
        )
        stack.callback(run_holdfast, "volume", "delete", "shop", "--yes", check=False)
        first, *_, (last, kind, end) = told(asking, job)
        assert (first[1], first[2]["event"]) == ("event", "said")
        assert (kind, end["end"], end["result"]["name"]) == ("end", "finished", "shop")
        assert [each[0] for each in told(asking, job, after=last - 1)] == [last]
        shown = asking.get(f"/v1/jobs/{job}").json()
        assert shown["end"] == end and shown["ended"] >= shown["begun"]

        (volume,) = asking.get("/v1/volumes").json()
        (status,) = run_holdfast("status", json=True)
        assert volume.keys() == status.keys()
        assert (volume["state"], volume["troubles"]) == ("healthy", [])
        assert asking.get("/v1/volumes", params={"unhealthy": True}).json() == []
        assert asking.get("/v1/volumes/shop").json()["mount"] == str(mount)
        assert asking.get("/v1/volumes/shop/history").json()["state"] == "off"

        (ram_directory / "b.img").rename(ram_directory / "away.img")
        wait_until(lambda: len(asking.get("/v1/troubles").json()) == 1)
        (trouble,) = asking.get("/v1/troubles").json()
        assert trouble["volume"] == "shop" and trouble["mend"]
        wait_until(lambda: asking.get("/v1/receipts", params={"volume": "shop"}).json() != [])
        receipt = asking.get("/v1/receipts", params={"limit": 1, "since": "1h ago"}).json()[0]
        assert asking.get(f"/v1/receipts/{receipt['id']}").json() == receipt

        *_, (_, _, end) = told(asking, begun(asking, "delete", volume="shop"))
        assert end["end"] == "finished"
        assert asking.get("/v1/volumes").json() == []


def test_a_job_is_ended_in_order_and_goes_on_without_the_api(holdfast_home: Path) -> None:
    with ExitStack() as stack:
        with api() as serving, client() as asking:
            job = asking.get(f"/v1/jobs/{begun(asking, 'recover')}").json()
            *_, (_, _, end) = told(asking, job["id"])
            assert end["end"] in ("finished", "interrupted")
            job = asking.get(f"/v1/jobs/{begun(asking, 'recover')}").json()
            assert asking.delete(f"/v1/jobs/{job['id']}").status_code == 202
            *_, (_, _, end) = told(asking, job["id"])
            assert end["end"] in ("finished", "interrupted")
            begun(asking, "recover")
            serving.send_signal(signal.SIGKILL)
        stack.enter_context(api())
        asking = stack.enter_context(client())
        answer = asking.get(f"/v1/jobs/{job['id']}")
        assert (answer.status_code, answer.json()["code"]) == (404, "NOJOB")
