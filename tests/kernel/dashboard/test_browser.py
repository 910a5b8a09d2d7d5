"""Every page in a real browser: a restoration is followed to its end, nothing is complained of."""

from __future__ import annotations

import gzip
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from holdfast import Client, Holdfast, MigrateRequest, Settings
from holdfast.model.drill import STRATEGY
from holdfast.model.policy import OnLoss
from holdfast.service import RecoverRequest
from holdfast.service.course import Course
from holdfast.service.under_way import restorations_under_way
from tests.browser import PROGRAM, Browser, browser
from tests.kernel.api.serving import api
from tests.kernel.dashboard.serving import dashboard
from tests.kernel.gate.kept_volume import made
from tests.kernel.restoration.bench import application, make_image, mounted
from tests.waiting import wait_until

AXE = Path(__file__).parents[2] / "data" / "axe" / "axe-core-4.14.1.min.js.gz"

SERIOUS = """axe.run().then(found => found.violations
    .filter(each => ["serious", "critical"].includes(each.impact))
    .map(each => [each.id, each.nodes.map(node => node.html)]))"""

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="this host has no chromium")


def judge(window: Browser) -> None:
    """What somebody with a phone, in the dark, or with a screen reader would stumble over."""
    if not window.ask("'axe' in window"):
        window.ask(gzip.decompress(AXE.read_bytes()).decode() + "; 0")
    for width, dark in ((1280, False), (390, True)):
        window.look(width, 850, dark=dark)
        assert window.ask(SERIOUS) == []
        assert window.ask("document.documentElement.scrollWidth") <= width
    window.look(1280, 850)


HOSTILE = "<img src=x onerror=alert(1)>&\"'"
"""Part of every path of a volume: a page that took it for its own would ask for x, and complain."""

STOOD_STILL = "document.querySelector('.figures dd').innerText"


def stand_still(holdfast: Holdfast) -> bool:
    """Whether users do, and it is known who."""
    return any(each.processes for each in restorations_under_way(holdfast.catalog))


def open_receipt(window: Browser, root: str) -> None:
    window.go(f"{root}receipts?strategy=migrate")
    window.wait_for("document.querySelectorAll('tbody tr').length == 1")
    judge(window)
    window.ask("document.querySelector('tbody a').click()")
    window.wait_for("document.querySelector('a[download]')")
    judge(window)
    file = window.ask("fetch(document.querySelector('a[download]').href).then(a => a.text())")
    assert file.startswith("<!doctype html>") and "<svg" in file


def test_a_restoration_is_followed_to_its_end(settings: Settings, ram_directory: Path) -> None:
    image = make_image(ram_directory / "1.img")
    with (
        mounted(image, ram_directory / "mnt") as path,
        Holdfast(settings) as holdfast,
        application(path, ram_directory / "record") as running,
        api(),
        dashboard() as served,
        browser() as window,
        Client() as client,
    ):
        holdfast.adopt_volume("data", str(path))
        window.look(1280, 850)
        window.go(served.url)
        window.wait_for("document.querySelector('.volumes a')")
        root = served.place + window.ask("location.pathname")
        judge(window)

        job = client.begin(
            MigrateRequest("data", (f"file:{ram_directory}/2.img",), deadline_seconds=300.0)
        )
        pid = next(each.pid for each in client.jobs() if each.id == job.id)
        wait_until(lambda: stand_still(holdfast) or client.jobs()[-1].end is not None)
        os.kill(pid, signal.SIGSTOP)  # until we look
        try:
            assert stand_still(holdfast)
            window.wait_for("document.querySelector('.under-way a')")  # by itself
            window.ask("document.querySelector('.under-way a').click()")
            window.wait_for("document.querySelectorAll('.steps li').length >= 10")
            window.wait_for(f"document.body.innerText.includes('({running.pid})')")  # it does
            before = running.progress()
            first = window.ask(STOOD_STILL)
            window.wait_for(f"{STOOD_STILL} != {first!r}")  # by itself, while nobody goes on
            judge(window)
            assert running.progress() == before
            (shown,) = client.restorations()
            assert shown.frozen_at is not None
            stood_ms = (time.time() - shown.frozen_at) * 1000
        finally:
            os.kill(pid, signal.SIGCONT)
        window.wait_for("document.body.innerText.includes('It has ended')", seconds=120)
        window.wait_for("document.querySelectorAll('svg.gantt').length >= 2")
        judge(window)
        running.wait_for_more()
        (receipt,) = client.receipts(limit=1)
        assert receipt.longest_wait_ms >= stood_ms
        assert running.pid in [each["pid"] for each in receipt.processes]

        window.go(f"{root}volumes/data")
        window.wait_for("document.body.innerText.includes('Who uses it')")
        window.wait_for(f"document.body.innerText.includes('{running.pid}')")
        judge(window)
        open_receipt(window, root)
        window.go(f"{root}jobs")
        window.wait_for(f"document.querySelector('.leg-list a[href$=\"{receipt.id}\"]')")
        assert window.complaints == []
        answer = httpx.get(f"{root}receipts")  # the browser's secret is nobody else's
        assert answer.status_code == 401
        running.verify()


def choose_a_moment(window: Browser, root: str) -> None:
    """With the slider: what would happen is shown first, then the commands for it."""
    window.go(f"{root}volumes/shop")
    window.wait_for("document.getElementById('moment')")
    window.wait_for("document.getElementById('moment').hasAttribute('aria-valuetext')")
    offered = "document.getElementById('judged').innerText.includes('holdfast ')"
    assert not window.ask(offered)
    window.ask("document.getElementById('moment').focus()")
    for name in ("Home", "End"):
        for kind in ("rawKeyDown", "keyUp"):
            code = {"Home": 36, "End": 35}[name]
            window.do("Input.dispatchKeyEvent", type=kind, key=name, windowsVirtualKeyCode=code)
    window.wait_for("document.getElementById('judged').innerText.includes('holdfast restore shop')")
    chosen = window.ask("document.getElementById('moment-shown').value")
    said = window.ask("document.getElementById('judged').innerText")
    restore = f"holdfast restore shop --at {chosen[:-1]}"
    for words in (" predicted", HOSTILE, "<b>'\"& (", restore, "holdfast clone shop"):
        assert words in said
    judge(window)
    window.ask("document.getElementById('moment').focus()")
    window.do("Input.dispatchKeyEvent", type="rawKeyDown", key="Home", windowsVirtualKeyCode=36)
    assert not window.ask(offered)  # they were for another moment
    window.do("Input.dispatchKeyEvent", type="keyUp", key="Home", windowsVirtualKeyCode=36)
    window.wait_for("document.querySelector('#judged [role=alert]')")  # no copy is so old
    assert not window.ask(offered + " && document.getElementById('judged').innerText.includes("
                          "'holdfast restore')")  # fmt: skip


def follow_a_job(window: Browser, root: str) -> None:
    """By the page of jobs alone."""
    window.go(f"{root}jobs")
    window.wait_for("document.body.innerText.includes('None since the API began')")
    with Client() as client:
        job = client.begin(RecoverRequest())
        (pid,) = (each.pid for each in client.jobs())
        os.kill(pid, signal.SIGSTOP)  # until we look
        try:
            window.wait_for(f"document.querySelector('.leg-list')?.innerText.includes('{pid}')")
            judge(window)
        finally:
            os.kill(pid, signal.SIGCONT)
        job.result()
    window.wait_for("document.querySelector('.leg-list .badge')?.innerText == 'finished'")


def drilled(holdfast: Holdfast) -> None:
    """A drill of the volume, as its receipt tells it."""
    course = Course()
    course.reporter.say("read all of it")
    course.end()
    more = {"volume_id": holdfast.catalog.volume("shop").id}
    course.receipt(
        holdfast.catalog, "shop", STRATEGY, "drill", worked="it would", failure=None, more=more
    )


@contextmanager
def process(*words: str, cwd: Path) -> Iterator[None]:
    """A program that stands in a volume."""
    begun = subprocess.Popen(words, cwd=cwd)
    try:
        yield
    finally:
        begun.kill()
        begun.wait()


def lose_the_api(window: Browser, root: str, serving: subprocess.Popen[str]) -> None:
    """Stopped, ended, begun again: a page says so, and goes on by itself."""
    curves = "document.querySelector('#throughput .uplot')"
    window.go(f"{root}volumes/shop")
    window.wait_for(curves)
    os.kill(serving.pid, signal.SIGSTOP)
    window.wait_for("!document.getElementById('connection').hidden")
    os.kill(serving.pid, signal.SIGCONT)
    window.wait_for("document.getElementById('connection').hidden")
    serving.terminate()
    window.wait_for(f"document.body.innerText.includes('nobody serves at') && !{curves}")
    with api():
        window.wait_for(curves)
    window.go(f"{root}policies")
    window.wait_for("document.querySelector('[data-again]')")
    with api():
        window.wait_for("document.body?.innerText.includes('would restore')")


def test_pages_of_a_volume_with_a_history(settings: Settings, ram_directory: Path) -> None:
    place = ram_directory / HOSTILE
    place.mkdir()
    program = place / "<b>'\"&"
    shutil.copy("/bin/sleep", program)
    with (
        Holdfast(settings) as holdfast,
        made(holdfast, place) as mount,
        process(str(program), "infinity", cwd=mount),
    ):
        holdfast.histories.keep("shop", str(place / "history"), None, None)
        copy = f"file:{place}/copy.img"
        holdfast.histories.copies.add("shop", copy)
        drilled(holdfast)
        holdfast.policies.set("shop", on_loss=OnLoss.RESTORE)
        holdfast.alerts.add("webhook:https://example.org/SECRET")
        with api() as serving, dashboard() as served, browser() as window:
            window.go(served.url)
            window.wait_for("document.querySelector('.volumes a')")
            root = served.place + window.ask("location.pathname")
            choose_a_moment(window, root)
            follow_a_job(window, root)
            for name, words in (
                ("drills", ("worked", "read all of it", "predicted", "--every 7d")),
                ("policies", ("would restore", copy, "takes a spare", "Nobody watches")),
                ("alerts", ("https://example.org", "nothing waits", "Nobody watches")),
            ):
                window.go(f"{root}{name}")
                window.wait_for("document.querySelector('[aria-current=page]')")
                said = window.ask("document.body.innerText")
                assert all(each in said for each in words), said
                assert "SECRET" not in said
                judge(window)
            assert window.complaints == []

            lose_the_api(window, root, serving)
            served.process.kill()
            window.wait_for("document.body.innerText.includes('The dashboard does not answer')")
        holdfast.histories.copies.remove("shop", copy)
