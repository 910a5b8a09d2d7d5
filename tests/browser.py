"""Headless Chromium for tests, driven through its pipe (--remote-debugging-pipe): nothing but the
program itself is needed. Everything that a page's console says is kept."""

from __future__ import annotations

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")

_ANSWER_SECONDS = 60.0


class Browser:
    """One window. Told what to do, and asked; blocks until it is done."""

    def __init__(self, asking: int, telling: int) -> None:
        """`asking`: where commands are written, `telling`: where it says what happens."""
        self._asking, self._telling = asking, telling
        self._numbers = itertools.count(1)
        self._said = b""
        self.complaints: list[str] = []
        """Errors and warnings of the console, exceptions, requests that failed."""
        target = self._do("Target.createTarget", url="about:blank")["targetId"]
        attached = self._do("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.do(f"{domain}.enable")

    def do(self, method: str, **about: Any) -> dict[str, Any]:
        """A command of the DevTools protocol, for the page."""
        return self._do(method, session=self._session, **about)

    def go(self, url: str) -> None:
        """Open that page, until it has been loaded."""
        self.do("Page.navigate", url=url)
        self.wait_for(f"document.readyState == 'complete' && location.href != {'about:blank'!r}")

    def ask(self, script: str) -> Any:
        """The value of an expression in the page; a promise is waited for."""
        answer = self.do(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def wait_for(self, condition: str, seconds: float = 60.0) -> None:
        """Until that is true in the page; it fails with what the page shows when it never is."""
        end = time.monotonic() + seconds
        while not self.ask(f"Boolean({condition})"):
            if time.monotonic() > end:
                raise AssertionError(f"never {condition}: {self.ask('document.body.innerText')}")
            time.sleep(0.05)

    def look(self, width: int, height: int, *, dark: bool = False) -> None:
        """From now on at a window of that size."""
        self.do(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.do("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """What is in the window, or all of the page, as PNG."""
        answer = self.do("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))

    def _do(self, method: str, session: str = "", **about: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": about}
        if session:
            message["sessionId"] = session
        os.write(self._asking, json.dumps(message).encode() + b"\0")
        while True:
            said = self._next()
            if said.get("id") == number:
                if "error" in said:
                    raise AssertionError(f"{method}: {said['error']}")
                return dict(said["result"])
            self._note(said.get("method", ""), said.get("params", {}))

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._said:
            ready, _, _ = select.select([self._telling], [], [], _ANSWER_SECONDS)
            piece = os.read(self._telling, 1 << 20) if ready else b""
            if not piece:
                raise AssertionError("Chromium says nothing any more")
            self._said += piece
        text, _, self._said = self._said.partition(b"\0")
        return dict(json.loads(text))

    def _note(self, method: str, about: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(about["exceptionDetails"]))
        elif method == "Log.entryAdded" and about["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"{about['entry']['text']} {about['entry'].get('url', '')}")
        elif method == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning"):
            self.complaints.append(json.dumps(about["args"]))


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser that nobody has used before, until the block ends."""
    assert PROGRAM is not None
    profile = Path(tempfile.mkdtemp(prefix="chromium-"))
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()

    def place() -> None:  # the pipe's ends are 3 and 4
        first, second = os.dup(theirs_in), os.dup(theirs_out)
        os.dup2(first, 3)
        os.dup2(second, 4)

    process = subprocess.Popen(
        [
            PROGRAM, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
            "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
            "--remote-debugging-pipe", f"--user-data-dir={profile}",
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=place,  # noqa: PLW1509 (two calls of dup2, in a test without threads)
        close_fds=False,
        start_new_session=True,
        cwd="/",
    )  # fmt: skip
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Browser(ours_out, ours_in)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()
        os.close(ours_in)
        os.close(ours_out)
        shutil.rmtree(profile, ignore_errors=True)
