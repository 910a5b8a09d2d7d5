"""Verdicts, from a handle and what is known of its process."""

from __future__ import annotations

import pytest

from holdfast.applications.rebind.handles import DRIVERS
from holdfast.applications.rebind.handles.process_traits import ProcessTraits
from holdfast.applications.rebind.handles.verdicts import REASONS
from holdfast.applications.rebind.scan import judge_handle
from holdfast.model.handle import Handle, HandleKind, HandleVerdict
from holdfast.system.processes.smaps import MapSettings

ROOT_CAPABILITIES = (1 << 41) - 1


def verdict(
    kind: HandleKind, facts: ProcessTraits | None = None, **fields: object
) -> HandleVerdict:
    handle = Handle(kind, 7, "/data/x", **fields)  # type: ignore[arg-type]
    return judge_handle(handle, facts or ProcessTraits(7, capabilities=ROOT_CAPABILITIES)).verdict


def test_every_kind_is_moved_or_refused_with_a_reason() -> None:
    assert set(DRIVERS) | set(REASONS) == set(HandleKind)
    assert not set(DRIVERS) & set(REASONS)
    for kind in REASONS:
        assert verdict(kind) is HandleVerdict.BLOCKS


def test_a_process_that_is_blocked() -> None:
    for kind in HandleKind:
        assert verdict(kind, ProcessTraits(7, blocked="traced")) is HandleVerdict.BLOCKS


def test_a_chroot_needs_the_right_to_change_it() -> None:
    assert verdict(HandleKind.ROOT) is HandleVerdict.MOVED
    assert verdict(HandleKind.ROOT, ProcessTraits(7)) is HandleVerdict.BLOCKS


def test_a_program_in_a_chroot_without_rights() -> None:
    assert verdict(HandleKind.EXECUTABLE, ProcessTraits(7, chrooted=True)) is HandleVerdict.BLOCKS


@pytest.mark.parametrize("flag", ["sl", "um", "uw", "sf"])
def test_maps_that_cannot_be_replaced(flag: str) -> None:
    facts = ProcessTraits(7, maps={4096: MapSettings(frozenset({"rd", flag}))})
    assert verdict(HandleKind.MAP, facts, start=4096) is HandleVerdict.BLOCKS
    assert verdict(HandleKind.MAP, facts, start=8192) is HandleVerdict.MOVED


@pytest.mark.parametrize("mask", [0x10000, 0x20000, 0x40000, 0x100000])
def test_fanotify_marks(mask: int) -> None:
    """Who is asked for permission blocks; what cannot be found is never put elsewhere."""
    of_inode, of_mount = {"mode": "inode"}, {"mode": "mount"}
    assert verdict(HandleKind.FANOTIFY, flags=mask | 2, **of_mount) is HandleVerdict.BLOCKS
    assert verdict(HandleKind.FANOTIFY, flags=2, **of_mount) is HandleVerdict.RECREATED
    assert verdict(HandleKind.FANOTIFY, flags=2, **of_inode) is HandleVerdict.RECREATED
    lost = Handle(HandleKind.FANOTIFY, 7, "", flags=2, mode="inode")
    assert judge_handle(lost, ProcessTraits(7)).verdict is HandleVerdict.LOST


def test_a_listing_in_progress_and_what_has_no_name() -> None:
    assert verdict(HandleKind.DIRECTORY, offset=5) is HandleVerdict.RECREATED
    assert verdict(HandleKind.DIRECTORY) is HandleVerdict.MOVED
    assert verdict(HandleKind.FILE, deleted=True) is HandleVerdict.RECREATED
    removed = (HandleKind.WORKING_DIRECTORY, HandleKind.DIRECTORY, HandleKind.PATH)
    for kind in (*removed, HandleKind.INOTIFY):
        assert verdict(kind, deleted=True) is HandleVerdict.RECREATED
    assert verdict(HandleKind.ROOT, deleted=True) is HandleVerdict.RECREATED
    assert verdict(HandleKind.ROOT, ProcessTraits(7), deleted=True) is HandleVerdict.BLOCKS


def test_a_watch_whose_path_is_not_known_is_never_put_elsewhere() -> None:
    handle = Handle(HandleKind.INOTIFY, 7, "", start=1)
    assert judge_handle(handle, ProcessTraits(7)).verdict is HandleVerdict.LOST
