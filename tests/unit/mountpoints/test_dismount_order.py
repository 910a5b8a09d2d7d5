"""Mounts are dismounted from the top, and the reverse order mounts them."""

from __future__ import annotations

import os

from holdfast.model.mountpoint import MountPoint
from holdfast.mountpoints.capture import in_dismount_order, is_there, with_later_ones
from holdfast.system.mounts.mount_table import Mount
from holdfast.system.mounts.namespace import mount_namespace


def point(number: int, path: str, parent: int = 1, namespace: int = 7) -> MountPoint:
    return MountPoint(
        id=number, namespace=namespace, witness_pid=1, path=path, inside="", options="rw",
        super_options="rw", filesystem="ext4", source="/dev/a", device="7:1", parent=parent,
    )  # fmt: skip


def test_what_lies_deeper_goes_first_whatever_its_number() -> None:
    points = [point(9, "/a"), point(2, "/a/b/c", 5), point(5, "/a/b", 9)]
    assert [each.path for each in in_dismount_order(points)] == ["/a/b/c", "/a/b", "/a"]


def test_of_two_at_one_place_the_one_on_top_goes_first() -> None:
    points = [point(4, "/a", 8), point(8, "/a", 1)]
    assert [each.id for each in in_dismount_order(points)] == [4, 8]


def test_levels_go_before_namespaces_and_our_own_comes_last() -> None:
    own = mount_namespace(os.getpid())
    points = [
        point(1, "/a", namespace=own), point(2, "/a", namespace=7),
        point(3, "/a/b", 1, own), point(4, "/a/b", 2, 7),
    ]  # fmt: skip
    assert [each.id for each in in_dismount_order(points)] == [4, 3, 2, 1]


def test_later_ones_that_have_the_numbers_of_those_that_are_gone_are_others() -> None:
    gone = [point(4, "/a/b", 3), point(3, "/a")]
    later = [point(3, "/c/b", 4), point(4, "/c", 1), point(5, "/d", 1)]
    done = with_later_ones(gone, later)
    assert {each.path for each in done} == {"/a/b", "/a", "/c/b", "/c", "/d"}
    by_path = {each.path: each for each in done}
    assert (by_path["/a"].id, by_path["/a/b"].id, by_path["/d"].id) == (3, 4, 5)
    assert by_path["/c/b"].parent == by_path["/c"].id not in (3, 4)
    assert len({each.id for each in with_later_ones(done, later)}) == 8


def test_a_number_that_is_used_again_is_not_the_mount() -> None:
    line = Mount(3, 1, "7:1", "/", "/a", "rw", "ext4", "/dev/a", "rw")
    assert is_there(point(3, "/a"), [line])
    assert not is_there(point(3, "/b"), [line])
    assert not is_there(point(4, "/a"), [line])
