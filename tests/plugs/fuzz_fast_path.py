"""Feeds compiled code damaged requests, pages and plans. Run by a test, under sanitizers.

Usage: python -m tests.plugs.fuzz_fast_path MODULE ROUNDS SEED
"""

from __future__ import annotations

import json
import mmap
import os
import random
import socket
import struct
import sys
import threading
from array import array
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
from types import ModuleType
from typing import Any

from holdfast.gate.log import ring_layout as ring
from holdfast.gate.runtime import shared_page
from holdfast.system.fuse import wire

BUFFER_BYTES = 64 << 10
VOLUME_BYTES = 1 << 20
RING_BYTES = 128 << 10
_OPCODES = (
    *(wire.READ, wire.WRITE, wire.WRITE, wire.FSYNC) * 2,
    wire.FALLOCATE,
    wire.GETATTR,
    0,
    1 << 31,
)
PARTNER_SLOTS = (7, 8, 9)
_WORDS = (0, 1, 511, 4096, BUFFER_BYTES, BUFFER_BYTES + 1, VOLUME_BYTES, (1 << 31) - 1)
_LONG_WORDS = (*_WORDS, (1 << 32) - 1, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
_QUESTION = wire.IN_HEADER.pack(wire.IN_HEADER.size, wire.GETATTR, 2, 1, 0, 0, 1, 0, 0)
"""Compiled code always comes back with it."""


def load(path: str) -> ModuleType:
    """The module that was built there."""
    spec = spec_from_loader("_fast_path", ExtensionFileLoader("_fast_path", path))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Fuzzer:
    """What compiled code needs, and everything that may be wrong with it."""

    def __init__(self, module: ModuleType, chance: random.Random) -> None:
        self.module, self.chance = module, chance
        self.ours, self.gates = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.ours.setblocking(False)
        self.cells = memoryview(mmap.mmap(-1, shared_page.SIZE_BYTES)).cast("Q")
        self.header = memoryview(bytearray(wire.HEADER_BYTES))
        self.buffer = memoryview(bytearray(BUFFER_BYTES))
        self.ranges = module.HeldRanges()
        self.legs = [os.memfd_create(f"leg-{number}") for number in range(3)]
        for leg in self.legs:
            os.ftruncate(leg, VOLUME_BYTES)
        self.reserver = module.Reserver()
        self.ring = memoryview(mmap.mmap(-1, ring.HEAD_BYTES + RING_BYTES))
        self.results: dict[int, int] = {}
        self.pace = memoryview(array("Q", bytes(8 * module.PACE_CELLS)))
        self.times = memoryview(
            array("Q", bytes(8 * module.TIME_ROWS * module.TIME_KINDS * module.TIME_STEPS))
        )
        self.partners: tuple[Any, ...] = ()
        self.helping: list[threading.Thread] = []
        self.given_up = 0
        self.changing = threading.Lock()
        self.new_partners()

    def new_partners(self) -> None:
        """Others: those that there are leave when they have done their last job."""
        for partner in self.partners:
            partner.leave()
        for thread in self.helping:
            thread.join()
        self.partners = tuple(self.module.Partner(slot, 100 + slot) for slot in PARTNER_SLOTS)
        self.helping = [
            threading.Thread(target=self._help, args=(partner, slot))
            for partner, slot in zip(self.partners, PARTNER_SLOTS, strict=True)
        ]
        for thread in self.helping:
            thread.start()

    def _help(self, partner: Any, slot: int) -> None:
        what = None
        while what not in (self.module.DISMISSED, self.module.GIVEN_UP):
            what, *_ = partner.assist(self.cells, self.buffer, self.ranges)
            if what in (self.module.FLUSH_FAILED, self.module.GIVEN_UP):
                self.fail_leg(slot)

    def fail_leg(self, slot: int) -> None:
        """What Python does with a leg in which somebody is still: it fails, and is left."""
        self.new_plan()
        self.slot(slot)[shared_page.LEG] = 0

    def new_plan(self) -> None:
        """Those that go by another one find that theirs is no longer good."""
        self.cells[shared_page.PLAN] = (self.cells[shared_page.PLAN] + 1) % (1 << 64)

    def give_up(self) -> None:
        """As the watchdog, whoever is inside a leg just now; its partner is not used any more."""
        for partner, slot in zip(self.partners, PARTNER_SLOTS, strict=True):
            cells = self.slot(slot)
            inside = cells[shared_page.LEG]
            if inside and not inside >> 63 and self.module.take(cells, inside):
                self.ranges.leave(slot, 100 + slot)
                cells[shared_page.LOGGED] = cells[shared_page.BUSY_SINCE] = 0
                partner.desert()
                self.new_plan()
                self.given_up += 1

    def slot(self, number: int) -> memoryview:
        """Its cells."""
        return self.cells[shared_page.slot_offset(number) : shared_page.slot_offset(number + 1)]

    def random_pace(self) -> None:
        """Legs that are slow, fast, or of whom nothing was learned."""
        chance = self.chance
        for cell in range(len(self.pace)):
            self.pace[cell] = chance.choice((0, 1, 10_000, 1 << 30, 1 << 30, (1 << 64) - 1))
        self.pace[0] = chance.choice((0, 1, 1 << 20, (1 << 64) - 1))

    def message(self) -> bytes:
        """A request, or nearly one."""
        chance = self.chance
        if chance.random() < 0.1:
            return chance.randbytes(chance.randrange(1, 200))
        length = chance.choice(_WORDS) if chance.random() < 0.3 else chance.randrange(1, 9000)
        offset = chance.choice(_LONG_WORDS) if chance.random() < 0.3 else chance.randrange(1 << 20)
        unique = chance.choice((2, 4, wire.UNIQUE_RESEND | 6))
        opcode = chance.choice(_OPCODES)
        head = wire.IN_HEADER.pack(0, opcode, unique, 1, 0, 0, 1, 0, 0)
        body = struct.pack("<QQIIQII", 0, offset, length, 0, 0, 0, 0)
        payload = bytes(min(length, BUFFER_BYTES)) if opcode == wire.WRITE else b""
        whole = head + body + payload
        return whole[: chance.randrange(1, len(whole))] if chance.random() < 0.1 else whole

    def plan(self) -> tuple[object, ...]:
        """The rest of the arguments, rarely those that a worker would give."""
        chance, odd = self.chance, self.chance.random() < 0.2
        number = self.cells[shared_page.PLAN] if chance.random() < 0.97 else 7
        descriptors = [*self.legs, -1, self.gates.fileno()] if odd else self.legs
        legs = b"".join(
            struct.pack(
                "=QQQiBBBB",
                chance.choice((1, 2, 1 << 40)),
                chance.choice((0, VOLUME_BYTES, VOLUME_BYTES, VOLUME_BYTES + odd)),
                0,
                chance.choice(descriptors),
                *(chance.randrange(2) for _ in range(3)),
                chance.choice((0, 1, self.module.TIME_ROWS - 1, self.module.TIME_ROWS, 255)),
            )
            for _ in range(chance.randrange(0 if odd else 1, self.module.MOST_LEGS + 2 * odd))
        )
        regions = chance.choice((0, 1, 16, 16, 16))
        durable = bytearray(chance.choice((0, 1, 1, 1, 1, 1)) for _ in range(regions))
        touched = bytearray(regions + (odd and chance.randrange(2)))
        shift = chance.choice((0, 9, 16, 20, 62, 63, 200)) if odd else 16
        flags = chance.randrange(2), chance.randrange(2), int(chance.random() < 0.1)
        log = self.reserver, self.log(odd=odd), chance.choice((0, RING_BYTES // 8, RING_BYTES))
        partners = self.partners[: chance.choice((0, 1, 3, 3))]
        pace = self.pace[: chance.choice((0, 7))] if odd and chance.random() < 0.1 else self.pace
        times = self.times[: chance.choice((0, 7))] if odd and chance.random() < 0.1 else self.times
        helping = partners, pace, times, chance.randrange(2)
        return number, legs, durable, touched, shift, *flags, *log, *helping

    def log(self, *, odd: bool) -> memoryview:
        """None, or a ring; its head is trimmed now and then, and says anything now and then."""
        chance, cells = self.chance, self.ring.cast("Q")
        if chance.random() < 0.3:
            return memoryview(bytearray(chance.choice((0, 0, 100, ring.HEAD_BYTES, 4160, 5000))))
        if chance.random() < 0.5:
            cells[ring.BEGIN] = cells[ring.END]
            cells[ring.ASKED] = 0
        if odd:
            for cell in (ring.BEGIN, ring.END):
                cells[cell] = chance.choice((0, 64, 4096, 63, 1 << 40, *_LONG_WORDS))
        return self.ring[: chance.choice((4096, 4160, 4097, 8192))] if odd else self.ring

    def step(self) -> None:
        """One message, and whatever compiled code makes of it."""
        chance = self.chance
        if chance.random() < 0.1:
            self.cells[shared_page.PLAN] = chance.randrange(1 << 64)
        if chance.random() < 0.1:
            short = chance.choice((0, 5000)) if chance.random() < 0.2 else VOLUME_BYTES
            os.ftruncate(chance.choice(self.legs), short)
        if chance.random() < 0.2:
            self.random_pace()
        self.ours.send(self.message())
        self.ours.send(_QUESTION)
        slot = chance.choice((0, 5, shared_page.SLOTS - 1, shared_page.SLOTS))
        plan = self.plan()
        for _ in range(2):
            try:
                result = self.module.serve(
                    *(self.gates.fileno(), slot, chance.choice((1, 9)), self.cells),
                    *(self.header, self.buffer, self.ranges, *plan),
                )
            except ValueError:
                break
            self.results[result[0]] = self.results.get(result[0], 0) + 1
            if result[0] == self.module.FLUSH_FAILED:
                self.fail_leg(slot)
            if result[0] == self.module.REQUEST and self.header[4:8] == _QUESTION[4:8]:
                break
        self._drain()

    def _drain(self) -> None:
        for end in (self.ours, self.gates):
            while True:
                try:
                    end.recv(1 << 20, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    break


def main(path: str, rounds: int, seed: int) -> None:
    """Run; what came back how often, for people."""
    sys.setswitchinterval(1e-5)
    chance = random.Random(seed)
    fuzzer = Fuzzer(load(path), chance)
    ended = threading.Event()
    watchdog = threading.Thread(target=_watch, args=(fuzzer, ended))
    watchdog.start()
    for _ in range(rounds):
        fuzzer.step()
        if chance.random() < 0.02:
            with fuzzer.changing:
                fuzzer.new_partners()
    ended.set()
    watchdog.join()
    fuzzer.new_partners()
    for held in fuzzer.ranges.held():
        raise AssertionError(f"{held} was left behind")
    for partner in fuzzer.partners:
        partner.leave()
    done = shared_page.count(fuzzer.cells)
    found = {"results": sorted(fuzzer.results), "answered": min(done_of_each(done))}
    print(json.dumps(found | {"given_up": fuzzer.given_up}))


def _watch(fuzzer: Fuzzer, ended: threading.Event) -> None:
    while not ended.wait(0.0002):
        with fuzzer.changing:
            fuzzer.give_up()


def done_of_each(counters: shared_page.Counters) -> tuple[int, int, int]:
    """How many of each kind of ordinary request were answered."""
    return counters.reads, counters.writes, counters.flushes


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
