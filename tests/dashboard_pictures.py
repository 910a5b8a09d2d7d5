"""Pictures of the dashboard for its documentation: `make pictures`, or
python -m tests.dashboard_pictures DIRECTORY

As root, with chromium and fuser (psmisc). Volumes, applications, a failure and a restoration are
made for it, in memory and in a mount namespace of its own, and taken away again.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.browser import Browser, browser
from tests.kernel.dashboard.serving import dashboard
from tests.waiting import wait_until

HOLDFAST = str(Path(sys.executable).with_name("holdfast"))

INSIDE = "HOLDFAST_PICTURES_INSIDE"

WIDTH, HEIGHT = 1100, 760
PHONE = 390, 850

WRITER = "while date +%T.%N; do sleep 0.05; done | dd of={}/log oflag=append,dsync conv=notrunc"

CURVE_SECONDS = 45
"""Of curves, that there is something to see."""


def holdfast(*words: str) -> None:
    """A command; its end is waited for."""
    subprocess.run([HOLDFAST, *words], check=True, stdout=subprocess.DEVNULL)


@contextmanager
def process(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program, and all that it begins, until the block ends."""
    begun = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True, cwd="/",
    )  # fmt: skip
    try:
        yield begun
    finally:
        os.killpg(begun.pid, 15)
        begun.wait()


def make(stack: ExitStack) -> None:
    """A mirror, a volume with a history, a mount that was there before; each with a user."""
    for name in ("disk1", "disk2", "disk3", "history"):
        Path("/srv", name).mkdir()
    holdfast("volume", "create", "shop", "--size", "300M", "--mount", "/srv/shop",
             "--leg", "file:/srv/disk1/shop.img", "--leg", "file:/srv/disk2/shop.img")  # fmt: skip
    holdfast("volume", "create", "books", "--size", "200M", "--mount", "/srv/books",
             "--leg", "file:/srv/disk1/books.img")  # fmt: skip
    holdfast("history", "books", "--at", "/srv/history/books")
    stack.enter_context(process("sh", "-c", WRITER.format("/srv/books")))
    holdfast("copy", "add", "books", "file:/srv/disk3/books-copy.img")
    image = Path("/srv/disk3/notes.img")
    with image.open("wb") as file:
        file.truncate(400 << 20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    Path("/srv/notes").mkdir()
    subprocess.run(["mount", "-o", "loop", image, "/srv/notes"], check=True)
    holdfast("volume", "adopt", "notes", "/srv/notes")
    for name in ("shop", "notes"):
        stack.enter_context(process("sh", "-c", WRITER.format(f"/srv/{name}")))


def happen() -> None:
    """What there is to see."""
    holdfast("migrate", "notes", "file:/srv/disk2/notes.img", "--fs", "xfs", "--yes")
    holdfast("point", "create", "books", "before-upgrade")
    holdfast("drill", "books")
    holdfast("drill", "books", "--every", "7d")
    holdfast("policy", "set", "books", "--on-loss", "restore")
    holdfast("alert", "add", "command:/bin/true")
    os.truncate("/srv/disk2/shop.img", 0)  # a leg is destroyed


def take(window: Browser, url: str, place: str, directory: Path) -> None:
    """Every picture."""
    window.look(WIDTH, HEIGHT)
    window.go(url)
    window.wait_for("document.querySelectorAll('.troubles li').length")
    root = place + window.ask("location.pathname")
    window.picture(directory / "dashboard-overview.png")
    window.go(f"{root}receipts?strategy=migrate")
    window.ask("document.querySelector('tbody a').click()")
    window.wait_for("document.querySelectorAll('svg.gantt').length >= 2")
    window.look(WIDTH, 1000, dark=True)
    window.picture(directory / "dashboard-receipt.png")
    window.look(WIDTH, 1000)
    window.go(f"{root}volumes/books")
    window.wait_for("document.getElementById('moment')")
    time.sleep(CURVE_SECONDS)
    window.ask("document.getElementById('curves-heading').scrollIntoView()")
    window.picture(directory / "dashboard-volume.png")
    window.ask("document.getElementById('go-back').requestSubmit()")
    window.wait_for("document.getElementById('judged').innerText.includes('holdfast restore')")
    window.ask("document.getElementById('history-heading').scrollIntoView()")
    window.picture(directory / "dashboard-moment.png")
    for name in ("drills", "policies"):
        window.go(f"{root}{name}")
        window.wait_for("document.querySelector('main section')")
        window.look(*((WIDTH, HEIGHT) if name == "drills" else PHONE), dark=name == "policies")
        window.picture(directory / f"dashboard-{name}.png")


def inside(directory: Path) -> None:
    """All of it, where no mount is anybody else's."""
    subprocess.run(["mount", "-t", "tmpfs", "none", "/srv"], check=True)
    home = Path(tempfile.mkdtemp(prefix="holdfast-pictures-", dir="/var/tmp"))
    os.environ["HOLDFAST_HOME"] = str(home)
    try:
        with ExitStack() as stack:
            make(stack)
            happen()
            stack.enter_context(process(HOLDFAST, "daemon"))
            api = stack.enter_context(process(HOLDFAST, "api", "--group", "nogroup"))
            socket = home / "api" / "api.sock"
            wait_until(lambda: socket.exists() or api.poll() is not None)
            served = stack.enter_context(dashboard())
            window = stack.enter_context(browser())
            take(window, served.url, served.place, directory)
        for name in ("shop", "books", "notes"):
            wait_until(lambda name=name: not users(name))
            holdfast("volume", "detach", name)
            holdfast("volume", "delete", name, "--yes")
    finally:
        shutil.rmtree(home)


def users(name: str) -> bool:
    """Whether somebody still uses it."""
    words = ["fuser", "--silent", "--mount", f"/srv/{name}"]
    return subprocess.run(words, check=False, stderr=subprocess.DEVNULL).returncode == 0


if __name__ == "__main__":
    if os.environ.get(INSIDE):
        inside(Path(sys.argv[1]))
    else:
        target = Path(sys.argv[1]).absolute()
        target.mkdir(exist_ok=True)
        words = ["unshare", "--mount", sys.executable, "-m", "tests.dashboard_pictures"]
        environment = {**os.environ, INSIDE: "1"}
        sys.exit(subprocess.run([*words, target], check=False, env=environment).returncode)
