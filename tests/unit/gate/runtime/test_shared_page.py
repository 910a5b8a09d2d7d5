"""The shared page: every fact has cells of its own."""

from __future__ import annotations

import socket
from pathlib import Path

from holdfast.gate.processes import socket_name
from holdfast.gate.processes.channel import make_channel
from holdfast.gate.processes.handover import Handover, listen
from holdfast.gate.runtime import shared_page


def test_no_two_facts_share_a_cell() -> None:
    """Those of the head; the boot takes two cells, and ranges have many."""
    ranges = {"FIRST_CONTAINER", "_CONTAINERS", "FIRST_FAILED", "LAST_FAILED"}
    ranges |= {"FLUSHING", "FIRST_UNHEARD", "LAST_UNHEARD"}
    ranges |= {"FIRST_WORKER", "_WORKERS"}
    behind_slots = ("RENEWER", "SUPERSEDED", "REMEMBERED_EPOCH", "UNREMEMBERED")
    behind_slots += ("PLAN", "WRITTEN", "FLUSHED", "OWED_FILE", "STANDBY", "HISTORY_LOST_SINCE")
    of_slots = ("BUSY_SINCE", "LEG", "LEG_SINCE", "READS", "WRITES", "FLUSHES", "DISCARDS")
    of_slots += ("LONGEST_WAIT", "ERRORS", "READ_BYTES", "WRITTEN_BYTES", "LATE_REPLIES", "RESENT")
    of_slots += ("LOGGED", "SERVED_NS", "HELPS")
    no_head = (*ranges, *of_slots, *behind_slots)
    finals = [name for name, kind in shared_page.__annotations__.items() if "Final" in str(kind)]
    head = [getattr(shared_page, name) for name in finals if name not in no_head]
    head.append(shared_page.BOOT + 1)
    head += [index + part for index in shared_page._CONTAINERS for part in range(3)]
    head += list(range(shared_page.FIRST_FAILED, shared_page.LAST_FAILED + 1))
    assert len(head) == len(set(head))
    assert max(head) < shared_page.HEAD_CELLS
    slot = [getattr(shared_page, name) for name in of_slots]
    assert len(slot) == len(set(slot))
    assert max(slot) < shared_page.SLOT_CELLS
    behind = [getattr(shared_page, name) for name in behind_slots]
    behind += range(shared_page.FLUSHING, shared_page.FLUSHING + shared_page.SLOTS)
    behind += range(shared_page.FIRST_UNHEARD, shared_page.LAST_UNHEARD + 1)
    behind += [index + part for index in shared_page._WORKERS for part in range(2)]
    assert len(behind) == len(set(behind))
    assert min(behind) >= shared_page.HEAD_CELLS + shared_page.SLOT_CELLS * shared_page.SLOTS
    assert max(behind) < shared_page.SIZE_BYTES // 8


def test_a_new_socket_leaves_the_gate_what_it_is(tmp_path: Path) -> None:
    """Superblocks are known as its own by a number that lasts until the gate ends."""
    run_directory = tmp_path / "run"
    run_directory.mkdir()
    cells = memoryview(bytearray(shared_page.SIZE_BYTES)).cast("Q")
    token = shared_page.gate_token(cells)
    keeper, worker = make_channel()
    with keeper, worker, listen(run_directory) as listener:
        handover = Handover(tmp_path, run_directory, cells, -1, -1, listener)
        socket_name.tend(handover, keeper)
        (run_directory / "control").unlink()
        socket_name.tend(handover, keeper)
        assert shared_page.gate_token(cells) == token
        inode = (run_directory / "control").stat().st_ino
        assert cells[shared_page.SOCKET_INODE] == inode
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(run_directory / "control"))


def test_workers_are_noted_until_they_are_forgotten_or_too_many() -> None:
    """A page of an older version has none; the oldest makes room."""
    cells = memoryview(bytearray(shared_page.SIZE_BYTES)).cast("Q")
    assert shared_page.noted_workers(cells) == []
    room = len(shared_page._WORKERS)
    for generation in range(1, room + 2):
        shared_page.note_worker(cells, 1000 + generation, 7, generation)
    noted = {generation for _, _, generation in shared_page.noted_workers(cells)}
    assert noted == set(range(2, room + 2))
    shared_page.forget_worker(cells, 1000 + 5, 6)  # another process of that number
    shared_page.forget_worker(cells, 1000 + 9, 7)
    assert (1005, 7, 5) in shared_page.noted_workers(cells)
    assert len(shared_page.noted_workers(cells)) == room - 1
    shared_page.note_worker(cells, 1, 7, 99)
    assert (1002, 7, 2) in shared_page.noted_workers(cells)
