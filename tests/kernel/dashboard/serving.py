"""The dashboard of a test: its process, and how a browser asks it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx

from holdfast.config import Settings

ANSWER_SECONDS = 60.0


@dataclass
class Served:
    """One that serves."""

    process: subprocess.Popen[str]
    url: str
    """With its secret."""

    @property
    def place(self) -> str:
        """Without it."""
        return self.url.partition("/?")[0]


@contextmanager
def dashboard() -> Iterator[Served]:
    """`holdfast dashboard`, at any port, for this test's HOLDFAST_HOME, until the block ends."""
    home = Settings().home
    assert home is not None
    for each in (home, *home.parents[:3]):  # nobody is to find the socket
        each.chmod(each.stat().st_mode | 0o001)
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("holdfast")), "dashboard", "--listen", "127.0.0.1:0"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    said: IO[str] | None = process.stdout
    assert said is not None and process.stderr is not None
    try:
        url = said.readline().strip()
        assert url.startswith("http://127.0.0.1:"), process.stderr.read()
        yield Served(process, url)
    finally:
        process.terminate()
        process.wait()
        said.close()
        process.stderr.close()


@contextmanager
def visitor(served: Served) -> Iterator[tuple[httpx.Client, str]]:
    """Somebody whom the printed address has let in, and where everything is."""
    with httpx.Client(timeout=ANSWER_SECONDS, follow_redirects=True) as asking:
        answer = asking.get(served.url)
        assert answer.status_code == 200, answer.text
        yield asking, str(answer.url).rstrip("/")
