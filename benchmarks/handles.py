"""A program for the benchmark `rebind`: processes that hold descriptors of files on a volume.

`python -m benchmarks.handles FOLDER PROCESSES DESCRIPTORS` forks them, each with that many files
open for reading and writing at an offset of their own. It says `ready`, and for every line that it
is given lets all of them read and write through every descriptor; then `ok`, or what is wrong.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path


def main() -> int:
    """Ends, and ends its children, when its input does."""
    folder, processes, descriptors = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    children: list[tuple[int, int, int]] = []
    try:
        for number in range(processes):
            children.append(_fork(folder, number, descriptors, children))
        _ask(children)
        print("ready", flush=True)
        while sys.stdin.readline():
            _ask(children)
            print("ok", flush=True)
    except EOFError:
        print("a process has ended", flush=True)
        return 1
    finally:
        for pid, channel, _ in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(channel)
    return 0


def _ask(children: list[tuple[int, int, int]]) -> None:
    for _, channel, _ in children:
        os.write(channel, b"?")
    for _, _, answers in children:
        if os.read(answers, 1) != b".":
            raise EOFError


def _fork(
    folder: Path, number: int, descriptors: int, others: list[tuple[int, int, int]]
) -> tuple[int, int, int]:
    """Process, where it is asked, where it answers."""
    questions, answers = os.pipe(), os.pipe()
    pid = os.fork()
    if pid:
        os.close(questions[0])
        os.close(answers[1])
        return pid, questions[1], answers[0]
    for descriptor in (questions[1], answers[0], *(each for pair in others for each in pair[1:])):
        os.close(descriptor)
    try:
        names = [f"{number}-{each}" for each in range(descriptors)]
        files = [os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o600) for name in names]
        count = 0
        while os.read(questions[0], 1):
            for name, file in zip(names, files, strict=True):
                word = f"{name} {count:9}\n".encode()
                assert os.lseek(file, 0, os.SEEK_CUR) == count * len(word)
                assert os.write(file, word) == len(word)
                assert os.pread(file, len(word), count * len(word)) == word
            count += 1
            os.write(answers[1], b".")
    finally:
        os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
