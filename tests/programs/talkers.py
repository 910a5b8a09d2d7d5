"""`talkers.py serve|talk PATH stream|seqpacket`: connections whose two ends check every byte.

Both send numbered blocks of all sizes at the same time, from threads of their own, and compare
what comes. `serve` forks a worker for every other connection. `talk` has one connection after the
other, for many blocks each, and answers every line on its input with how many blocks it has got;
any difference ends it.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import socket
import sys
import threading
import time
from pathlib import Path

TYPES = {"stream": socket.SOCK_STREAM, "seqpacket": socket.SOCK_SEQPACKET}
BLOCKS = 1500
SIZES = (1, 7, 100, 4096, 30000)
counted = [0]


def block(seed: int, number: int) -> bytes:
    size = SIZES[(seed + number) % len(SIZES)]
    digest = hashlib.sha256(b"%d %d" % (seed, number)).digest()
    return (digest * (size // len(digest) + 1))[:size]


def send(end: socket.socket, seed: int) -> None:
    for number in range(BLOCKS):
        end.sendall(block(seed, number))
        if number % 10 == 0:
            time.sleep(0.001)
    end.shutdown(socket.SHUT_WR)


def receive(end: socket.socket, seed: int) -> None:
    for number in range(BLOCKS):
        wanted, got = block(seed, number), b""
        if end.type == socket.SOCK_SEQPACKET:
            got = end.recv(1 << 16)
        while len(got) < len(wanted) and end.type == socket.SOCK_STREAM:
            more = end.recv(len(wanted) - len(got))
            if not more:
                break
            got += more
        if got != wanted:
            say(f"wrong: block {number} of {seed}: {len(got)} bytes, not {len(wanted)}")
        counted[0] += 1
    if end.recv(1):
        say("wrong: more than was sent")


def say(words: str) -> None:
    os.write(1, words.encode() + b"\n")
    os._exit(1)


def both(end: socket.socket, mine: int, its: int) -> None:
    sender = threading.Thread(target=send, args=(end, mine))
    sender.start()
    receive(end, its)
    sender.join()
    end.close()


def guarded(*arguments) -> None:
    try:
        both(*arguments)
    except OSError as error:
        say(f"wrong: {error}")


def serve(path: str, kind: int) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listening = socket.socket(socket.AF_UNIX, kind)
    listening.bind(path)
    Path(path).chmod(0o777)
    listening.listen(50)
    print("ready", flush=True)
    for turn in range(1 << 30):
        end, _ = listening.accept()
        seed = end.recv(8)
        if len(seed) < 8:
            continue  # nobody: it has ended
        arguments = end, int(seed) + 1, int(seed)
        if turn % 2:
            threading.Thread(target=guarded, args=arguments, daemon=True).start()
        elif os.fork() == 0:
            listening.close()
            guarded(*arguments)
            os._exit(0)
        else:
            end.close()


def connected(path: str, kind: int) -> socket.socket:
    """Who connects while nothing is mounted there tries again."""
    while True:
        end = socket.socket(socket.AF_UNIX, kind)
        try:
            end.connect(path)
            return end
        except (FileNotFoundError, ConnectionRefusedError):
            end.close()
            time.sleep(0.01)


def talk(path: str, kind: int) -> None:
    while True:
        end, seed = connected(path, kind), random.randrange(10**7, 10**8 - 1)
        try:
            end.sendall(b"%d" % seed)
            both(end, seed, seed + 1)
        except OSError as error:
            say(f"wrong: {error}")


if __name__ == "__main__":
    what, path, name = sys.argv[1:]
    if what == "serve":
        serve(path, TYPES[name])
    threading.Thread(target=talk, args=(path, TYPES[name]), daemon=True).start()
    print("ready", flush=True)
    for _ in sys.stdin:
        os.write(1, b"%d\n" % counted[0])
