"""The collection of garbage is as it was afterwards, whatever happens."""

from __future__ import annotations

import gc

import pytest

from holdfast.applications.rebind.agent_process import without_collection


def test_it_goes_on_afterwards() -> None:
    with pytest.raises(OSError, match="meanwhile"), without_collection():
        assert not gc.isenabled()
        with without_collection():
            assert not gc.isenabled()
        assert not gc.isenabled()
        raise OSError("meanwhile")
    assert gc.isenabled()


def test_who_collects_none_does_not_begin_to() -> None:
    gc.disable()
    try:
        with without_collection():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
