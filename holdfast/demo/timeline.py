"""What the audience sees: headings, one line per event with its time, a line that moves.

Owns the decision between terminal and pipe: colours and the moving line on a terminal only. Must
never fail the story: whoever stops reading is reported by `broken`.
"""

from __future__ import annotations

import os
import shutil
import time
from typing import TextIO

BOLD, DIM, RED, GREEN = "1", "2", "1;31", "32"
INDENT = " " * 13


class Timeline:
    """Times are seconds since the timeline was made."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._coloured = self._terminal and not os.environ.get("NO_COLOR")
        self._began = time.monotonic()
        self._moving = False
        self.broken = False
        """Nobody reads any more."""

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    def paint(self, text: str, style: str) -> str:
        """The text in a style, where there are colours."""
        return f"\x1b[{style}m{text}\x1b[0m" if self._coloured else text

    def line(self, text: str = "") -> None:
        """A line without a time."""
        self._write(f"{text}\n")

    def heading(self, number: int, text: str) -> None:
        """A new act begins."""
        self.line()
        self.line(self.paint(f"Act {number}  {text}", BOLD))

    def event(self, text: str, seconds_ago: float = 0.0) -> None:
        """Something happened, now or a moment ago."""
        seconds = max(0.0, self.seconds - seconds_ago)
        clock = f"{int(seconds) // 60:02d}:{seconds % 60:06.3f}"
        self.line(f"  {self.paint(clock, DIM)}  {text}")

    def result(self, text: str, *, good: bool) -> None:
        """What came of the events above."""
        self.line(f"{INDENT}{self.paint(text, GREEN if good else RED)}")

    def move(self, text: str) -> None:
        """Show the present state below the last line, until the next line; terminal only."""
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1
            self._write(self.paint(f"{INDENT}{text}"[:width], DIM), moving=True)

    def rest(self) -> None:
        """Take the moving line away."""
        self._write("")

    def _write(self, text: str, moving: bool = False) -> None:
        if self.broken:
            return
        try:
            self._stream.write(("\r\x1b[K" if self._moving else "") + text)
            self._stream.flush()
        except BrokenPipeError:
            self.broken = True
        self._moving = moving
