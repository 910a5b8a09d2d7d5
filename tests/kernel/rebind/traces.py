"""What a process could be told by that something was done inside of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_STATUS = (
    *("TracerPid", "Seccomp", "SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt"),
    *("CapEff", "Uid", "Threads"),
)


@dataclass(frozen=True)
class Traces:
    """Of one process."""

    descriptors: tuple[tuple[str, str], ...]
    """Number, and where the link leads (without numbers of anonymous inodes)."""
    maps: tuple[tuple[str, str], ...]
    """Every mapped page range that is in a row with the same protection and name, joined."""
    status: tuple[tuple[str, str], ...]
    children: str

    @classmethod
    def of(cls, pid: int) -> Traces:
        """As it is now."""
        links = sorted(Path(f"/proc/{pid}/fd").iterdir(), key=lambda link: int(link.name))
        descriptors = tuple((link.name, str(link.readlink())) for link in links)
        return cls(
            descriptors,
            tuple(_maps(pid)),
            tuple(
                (task.name, _status(task)) for task in sorted(Path(f"/proc/{pid}/task").iterdir())
            ),
            Path(f"/proc/{pid}/task/{pid}/children").read_text(),
        )


def _status(task: Path) -> str:
    lines = (task / "status").read_text().splitlines()
    return " ".join(line for line in lines if line.partition(":")[0] in _STATUS)


def _maps(pid: int) -> list[tuple[str, str]]:
    joined: list[tuple[str, str]] = []
    last_end = last = ""
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        fields = line.split(maxsplit=5)
        start, _, end = fields[0].partition("-")
        what = f"{fields[1]} {fields[5] if len(fields) > 5 else ''}"
        if joined and start == last_end and what == last:
            joined[-1] = (f"{joined[-1][0].partition('-')[0]}-{end}", what)
        else:
            joined.append((fields[0], what))
        last_end, last = end, what
    return joined
