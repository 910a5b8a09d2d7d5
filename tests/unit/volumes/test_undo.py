"""After an error everything is taken back, last thing first, and no failure to do so is hidden."""

from __future__ import annotations

import pytest

from holdfast.errors import CommandFailed, InUse
from holdfast.volumes.undo import Undo


def test_nothing_is_undone_when_all_went_well() -> None:
    done: list[str] = []
    with Undo() as undo:
        undo.add("first", lambda: done.append("first"))
    assert done == []


def test_the_last_step_is_undone_first() -> None:
    done: list[str] = []
    with pytest.raises(CommandFailed, match=r"^mkfs failed$"), Undo() as undo:
        undo.add("first", lambda: done.append("first"))
        undo.add("second", lambda: done.append("second"))
        raise CommandFailed("mkfs failed")
    assert done == ["second", "first"]


def test_it_is_undone_for_an_interrupt_too() -> None:
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt), Undo() as undo:
        undo.add("first", lambda: done.append("first"))
        raise KeyboardInterrupt
    assert done == ["first"]


def test_a_failure_to_undo_does_not_stop_the_rest_and_is_told() -> None:
    done: list[str] = []

    def fail() -> None:
        raise InUse("somebody has it open")

    with pytest.raises(CommandFailed) as raised, Undo() as undo:
        undo.add("first", lambda: done.append("first"))
        undo.add("detach", fail)
        raise CommandFailed("mkfs failed", "Look at it.")
    assert done == ["first"]
    assert raised.value.message == (
        "mkfs failed; it could not be undone entirely: detach: somebody has it open"
    )
    assert str(raised.value) == raised.value.message
    assert raised.value.mend == "Look at it. Then: holdfast recover."
