"""A message about a volume, as every way of telling somebody gets it. Pure."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from holdfast.late_dataclass import dataclass
from holdfast.system.messages.printable import printable

RAISED, REMINDED, ENDED, TEST = "raised", "reminded", "ended", "test"

_MOST_CHARACTERS = 2000


@dataclass(frozen=True)
class Message:
    """One thing that somebody is told. Strings may hold what strangers chose."""

    id: str
    """Unique: the same one may arrive twice, when a process of ours was killed in between."""
    kind: str
    """raised: something is wrong; reminded: still; ended: no more; test."""
    volume: str
    """Empty: it is about the host."""
    words: str
    mend: str
    since: float
    """Unix time in seconds at which it was seen first."""
    at: float
    """Unix time in seconds of this message."""
    host: str

    @property
    def subject(self) -> str:
        """One line; nothing in it moves a cursor or begins another line."""
        if self.kind == TEST:
            return printable(f"holdfast on {self.host}: a test, nothing is wrong")
        still = {REMINDED: "still: ", ENDED: "over: "}.get(self.kind, "")
        whose = f"{self.volume}: " if self.volume else ""
        return printable(f"holdfast on {self.host}: {whose}{still}{self.words}")

    @property
    def text(self) -> str:
        """What a person reads, in a few lines."""
        lines = [self.subject, f"since {_when(self.since)}"]
        if self.kind == ENDED:
            lines.append(f"over {_when(self.at)}")
        elif self.mend:
            lines.append(f"mend: {self.mend}")
        if self.volume:
            lines.append(
                f"more: holdfast status {self.volume}; holdfast receipt list {self.volume}"
            )
        return "\n".join(map(printable, lines)) + "\n"

    def as_json(self) -> dict[str, Any]:
        """Plain values, and the two texts. All of it is Unicode, whatever strangers call their
        files: many who read JSON refuse it otherwise."""
        values = {**asdict(self), "subject": self.subject, "text": self.text}
        return {
            key: _unicode(each) if isinstance(each, str) else each for key, each in values.items()
        }


def cut(words: str) -> str:
    """No more of them than somebody reads. Pure."""
    return words if len(words) <= _MOST_CHARACTERS else f"{words[:_MOST_CHARACTERS]} …"


def _unicode(text: str) -> str:
    """The same, with what is no character escaped as for people."""
    return "".join(printable(each) if _is_half(each) else each for each in text)


def _is_half(character: str) -> bool:
    """Of a surrogate pair: so os.fsdecode keeps bytes that are no UTF-8."""
    return "\ud800" <= character <= "\udfff"


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")
