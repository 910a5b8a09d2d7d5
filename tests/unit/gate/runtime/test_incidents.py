"""Receipts of the gate: one story is one receipt, written when its last request was answered."""

from __future__ import annotations

import json
from pathlib import Path
from time import monotonic_ns

from holdfast.gate.runtime.claims import Hands
from holdfast.gate.runtime.incidents import Incidents
from holdfast.gate.runtime.shared_page import BUSY_SINCE, SIZE_BYTES

MILLISECOND = 1_000_000


def test_a_failover_that_becomes_a_hold_is_one_story(tmp_path: Path) -> None:
    incidents = Incidents("shop", tmp_path)
    first = incidents.reflex("failover", "leg 1 EIO")
    assert incidents.reflex("hold", "leg 2 EIO") is first
    assert incidents.reflex("failover", "leg 3 EIO") is first
    assert first.strategy == "hold"
    assert "leg 1 EIO" in first.cause and "leg 2 EIO" in first.cause
    first.resolve("continued")
    assert incidents.reflex("failover", "later") is not first


def test_a_resynchronisation_is_a_story_of_its_own(tmp_path: Path) -> None:
    incidents = Incidents("shop", tmp_path)
    resync = incidents.begin("resync", "leg 2 joins")
    assert incidents.reflex("failover", "leg 1 EIO") is not resync


def test_the_receipt_waits_for_the_last_request(tmp_path: Path) -> None:
    incidents = Incidents("shop", tmp_path / "spool")
    hands = Hands(memoryview(bytearray(SIZE_BYTES)).cast("Q"))
    hand = hands.take()
    incident = incidents.reflex("failover", "leg 1 EIO")
    since = monotonic_ns()
    hand.cells[BUSY_SINCE] = since
    incident.resolve("continued")
    assert incidents.close_finished(hands.all()) == []
    incidents.answered(since, 20 * MILLISECOND, failed=False, resent=False)
    hand.cells[BUSY_SINCE] = 0
    [receipt] = incidents.close_finished(hands.all())
    assert (receipt.requests_held, receipt.longest_wait_ms) == (1, 20.0)
    [path] = (tmp_path / "spool").glob("*.json")
    assert json.loads(path.read_text())["id"] == receipt.id
    assert incidents.open == ()


def test_a_takeover_counts_only_what_was_sent_again(tmp_path: Path) -> None:
    incidents = Incidents("shop", tmp_path)
    died = monotonic_ns() - 30 * MILLISECOND
    incident = incidents.begin("takeover", "the worker died", died)
    incidents.answered(monotonic_ns(), MILLISECOND, failed=False, resent=False)
    assert incident.requests_held == 0
    incidents.answered(monotonic_ns(), MILLISECOND, failed=False, resent=True)
    assert incident.requests_held == 1
    assert incident.longest_wait_ns >= 30 * MILLISECOND


def test_a_request_that_came_later_is_not_part_of_it(tmp_path: Path) -> None:
    incidents = Incidents("shop", tmp_path)
    incident = incidents.reflex("failover", "leg 1 EIO")
    incident.resolve("continued")
    incidents.answered(monotonic_ns(), MILLISECOND, failed=False, resent=False)
    assert incident.requests_held == 0


def test_without_room_for_it_the_receipt_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file is in the way")
    incidents = Incidents("shop", tmp_path / "spool")
    incidents.begin("takeover", "the worker died").resolve("continued")
    assert len(incidents.close_finished([])) == 1
    assert incidents.open == ()
