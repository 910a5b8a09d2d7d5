"""What the agent does to be quick is undone, whatever happens."""

from __future__ import annotations

import gc
import os

import pytest

from holdfast.applications.rebind.urgency import urgently


def test_it_is_as_before_afterwards() -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with pytest.raises(OSError, match="meanwhile"), urgently():
        assert not gc.isenabled()
        assert os.getpriority(os.PRIO_PROCESS, 0) <= before
        with urgently():
            assert not gc.isenabled()
        assert not gc.isenabled()
        raise OSError("meanwhile")
    assert gc.isenabled()
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def test_who_collects_no_garbage_does_not_begin_to() -> None:
    gc.disable()
    try:
        with urgently():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
