"""The record of a freeze on disk: read as written, one holder of its lock, void after a boot."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.applications.freezers.freezing import end, frozen, recover_freezes
from holdfast.applications.freezers.record import VERSION, Batch, FreezeRecord, RecordFile
from holdfast.applications.freezers.undo import finish, processes_of
from holdfast.config import Settings
from holdfast.errors import NewerVersion
from holdfast.model.receipt import receipt_from_json


def record(folder: Path) -> FreezeRecord:
    now_ns = time.monotonic_ns()
    return FreezeRecord(
        id="a" * 32,
        volume="shop",
        freezer="signal",
        seconds=60.0,
        deadline_ns=now_ns + 60 * 10**9,
        started=time.time(),
        started_ns=now_ns,
        started_ticks=0,
        cause="test",
        spool=str(folder / "spool"),
        # Of no process: its start time cannot be.
        batches=[Batch("signal", now_ns, {"processes": [[os.getpid(), -1, "x"]], "left": []})],
    )


def file_in(folder: Path) -> RecordFile:
    file = RecordFile(folder, "shop")
    file.path.parent.mkdir(exist_ok=True)
    return file


def test_read_as_written(tmp_path: Path) -> None:
    file = file_in(tmp_path)
    assert file.load() is None
    wanted = record(tmp_path)
    file.save(wanted)
    assert file.load() == wanted
    file.remove()
    file.remove()
    assert file.load() is None


@pytest.mark.parametrize("text", ["", "[]", '{"id": 1}', '{"batches": [{}]}'])
def test_garbled(tmp_path: Path, text: str) -> None:
    file = file_in(tmp_path)
    file.path.write_text(text)
    with pytest.raises(ValueError, match=r"."):
        file.load()


def test_the_first_version_is_not_written_and_may_be(tmp_path: Path) -> None:
    """Older programs, which may be running, refuse a key that they do not know."""
    file, wanted = file_in(tmp_path), record(tmp_path)
    file.save(wanted)
    values = json.loads(file.path.read_text())
    assert "version" not in values
    file.path.write_text(json.dumps({"version": VERSION, **values}))
    assert file.load() == wanted


def test_a_newer_version_is_refused_and_stays(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    settings.run_directory.mkdir()
    file = file_in(settings.run_directory)
    file.path.write_text(json.dumps({"version": VERSION + 1, "colour": "red"}))
    for ask in (frozen, end):
        with pytest.raises(NewerVersion, match="newer version") as refused:
            ask(settings.run_directory, "shop")
        assert refused.value.mend
    (told,) = recover_freezes(settings)
    assert "newer version" in told
    assert file.path.exists()


def test_one_holder(tmp_path: Path) -> None:
    file = file_in(tmp_path)
    lock = file.lock()
    assert lock is not None
    assert file.lock() is None
    os.close(lock)
    again = file.lock()
    assert again is not None
    os.close(again)


def test_a_reused_number_is_not_touched_and_the_receipt_is_complete(tmp_path: Path) -> None:
    """This very process has the number, and another start time: it would stop itself otherwise."""
    file, made = file_in(tmp_path), record(tmp_path)
    file.save(made)
    receipt = finish(file, made, "thawed")
    assert file.load() is None
    (path,) = (tmp_path / "spool").glob("*.json")
    assert receipt_from_json(json.loads(path.read_text())) == receipt
    assert receipt.strategy == "freeze"
    assert receipt.outcome == "thawed"
    (process,) = receipt.processes
    assert process["pid"] == os.getpid()
    assert process["frozen_ms"] > 0


def test_after_a_boot_nobody_is_thawed(tmp_path: Path) -> None:
    file, made = file_in(tmp_path), record(tmp_path)
    stale = replace(made, boot_id="another", batches=[Batch("nonsense", made.started_ns, {})])
    file.save(stale)
    stale.batches[0].state = {"processes": []}
    assert finish(file, stale, "thawed").processes == ()


def test_whoever_is_in_two_batches_is_counted_once(tmp_path: Path) -> None:
    made = record(tmp_path)
    made.batches.append(replace(made.batches[0], at_ns=made.started_ns + 10**6))
    (process,) = processes_of(made, made.started_ns + 5 * 10**6)
    assert process["frozen_ms"] == 5.0
