"""What /proc says of descriptors, maps, mounts and control groups is read rightly."""

from __future__ import annotations

import pytest

from holdfast.applications.fdinfo import (
    mount_id_of,
    parse_group_flags,
    parse_information,
    parse_marks,
    parse_registered_files,
    parse_targets,
    parse_watches,
)
from holdfast.applications.identity import application_in
from holdfast.applications.places import Places, inside_of
from holdfast.model.handle import FileLock, LockKind
from holdfast.model.mountpoint import MountPoint
from holdfast.system.proc_text import parse_maps

INFORMATION = b"""pos:\t4096
flags:\t02102002
mnt_id:\t43
ino:\t258
lock:\t1: FLOCK  ADVISORY  WRITE 11768 00:27:258 0 EOF
lock:\t2: POSIX  ADVISORY  READ 11768 00:27:258 5 14
lock:\t3: OFDLCK ADVISORY  WRITE -1 00:27:258 7 EOF
lock:\t4: LEASE  ACTIVE    READ 11768 00:27:258 0 EOF
lock:\t5: DELEG  ACTIVE    READ 0 00:27:258 0 EOF
"""


def test_information() -> None:
    found = parse_information(INFORMATION)
    assert (found.offset, found.flags, found.mount_id, found.inode) == (4096, 0o2102002, 43, 258)
    assert found.mode == "rw"
    assert found.locks == (
        FileLock(LockKind.FLOCK, "write", holder_pid=11768),
        FileLock(LockKind.POSIX, "read", 5, 14, 11768),
        FileLock(LockKind.OPEN_FILE, "write", 7),
        FileLock(LockKind.LEASE, "read", holder_pid=11768),
    )
    assert mount_id_of(INFORMATION) == 43
    assert mount_id_of(b"pos:\t0\n") == 0


@pytest.mark.parametrize(
    ("flags", "mode"), [("00", "r"), ("0100001", "w"), ("02", "rw"), ("012000000", "")]
)
def test_mode(flags: str, mode: str) -> None:
    assert parse_information(f"flags:\t{flags}\n".encode()).mode == mode


def test_inotify_watches_with_and_without_file_handle() -> None:
    found = parse_watches(
        b"pos:\t0\ninotify wd:2 ino:3f7e8 sdev:fe00000 mask:3c6 ignored_mask:0 "
        b"fhandle-bytes:8 fhandle-type:1 f_handle:e8f7030000000000\n"
        b"inotify wd:a ino:11 sdev:27 mask:fff ignored_mask:0\n"
    )
    assert [(each.number, each.inode, each.device, each.mask) for each in found] == [
        (2, 0x3F7E8, (254, 0), 0x3C6),
        (10, 0x11, (0, 39), 0xFFF),
    ]
    assert found[0].file_handle == bytes.fromhex("e8f7030000000000")
    assert found[1].file_handle == b""


def test_fanotify_marks() -> None:
    text = (
        b"fanotify flags:600 event-flags:8000\n"
        b"fanotify sdev:fe00000 mflags:0 mask:2 ignored_mask:0\n"
        b"fanotify mnt_id:1b mflags:0 mask:2 ignored_mask:0\n"
        b"fanotify ino:3f7e8 sdev:27 mflags:0 mask:2 ignored_mask:0 fhandle-bytes:8\n"
    )
    assert [(each.mount_id, each.device, each.inode) for each in parse_marks(text)] == [
        (0, (254, 0), 0),
        (27, None, 0),
        (0, (0, 39), 0x3F7E8),
    ]
    assert [each.kind for each in parse_marks(text)] == ["filesystem", "mount", "inode"]
    assert parse_group_flags(text) == 0x600


def test_what_a_fanotify_mark_is() -> None:
    (found,) = parse_marks(
        b"fanotify ino:3f7e8 sdev:27 mflags:240 mask:40000002 ignored_mask:8 "
        b"fhandle-bytes:8 fhandle-type:1 f_handle:e8f7030000000000\n"
    )
    assert (found.flags, found.mask, found.ignored_mask) == (0x240, 0x40000002, 8)
    assert (found.file_handle_type, found.file_handle) == (1, bytes.fromhex("e8f7030000000000"))


def test_epoll_targets() -> None:
    text = b"tfd:        3 events:       1f data:  3  pos:0 ino:13f4b5 sdev:27\n"
    assert parse_targets(text) == [(3, 0x13F4B5, (0, 39))]


def test_registered_files() -> None:
    text = b"UserFiles:\t3\n    0: /tmp/a\\040b\n    2: /x\nUserBufs:\t1\n    0: 0x1/4096\n"
    assert parse_registered_files(text) == [(0, "/tmp/a b"), (2, "/x")]
    assert parse_registered_files(b"SqMask:\t0x7\n") is None


def test_maps() -> None:
    text = (
        b"7f0000-7f2000 rw-s 00001000 00:27 257      /m/a b\n"
        b"7f3000-7f4000 r-xp 00000000 fe:00 257      /bin/sleep\n"
        b"7f5000-7f6000 rw-p 00000000 00:00 0 \n"
        b"7f7000-7f8000 r--p 00000000 103:1a 9       /m/x\\012y (deleted)\n"
    )
    found = parse_maps(text, [b"00:27", b"103:1a"])
    assert [(each.start, each.end, each.mode, each.offset, each.path) for each in found] == [
        (0x7F0000, 0x7F2000, "rw-s", 0x1000, "/m/a b"),
        (0x7F7000, 0x7F8000, "r--p", 0, "/m/x\ny (deleted)"),
    ]
    assert [each.device for each in found] == [(0, 39), (0x103, 0x1A)]


def point(number: int, path: str, inside: str = "", device: str = "0:1") -> MountPoint:
    return MountPoint(number, 7, 1, path, inside, "rw", "rw", "ext4", "/dev/x", device)


@pytest.mark.parametrize(
    ("mount", "path", "inside"),
    [
        (point(1, "/data"), "/data", ""),
        (point(1, "/data"), "/data/a/b", "a/b"),
        (point(1, "/data", "sub"), "/data/a", "sub/a"),
        (point(1, "/data/file", "sub/file"), "/data/file", "sub/file"),
        (point(1, "/"), "/a", "a"),
        (point(1, "/"), "/", ""),
        (point(1, "/data"), "/database", ""),
    ],
)
def test_inside(mount: MountPoint, path: str, inside: str) -> None:
    assert inside_of(mount, path) == inside


def test_a_covered_mount_is_in_doubt_and_taken_for_the_upper_one() -> None:
    lower, upper = point(1, "/data"), point(2, "/data/deep", device="0:2")
    places = Places((lower,), (upper, point(3, "/", device="0:3")))
    assert places.may_hold("/data/x", 7) == lower
    assert places.is_certain("/data/x", lower, 7)
    assert places.is_likely("/data/x", lower, 7)
    assert places.may_hold("/data/deep/x", 7) == lower
    assert not places.is_certain("/data/deep/x", lower, 7)
    assert not places.is_likely("/data/deep/x", lower, 7)
    assert not places.is_certain("/data/x", lower, 8)
    assert places.may_hold("/database", 7) is None


HEXADECIMAL = "ab" * 32

GROUPS = {
    "0::/system.slice/nginx.service": ("nginx.service", "nginx.service", ""),
    "0::/system.slice/docker.service/inner": ("docker.service", "docker.service", ""),
    "0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-x.scope": (
        "app-x.scope",
        "app-x.scope",
        "",
    ),
    "0::/user.slice/user-0.slice/session-1.scope": ("session-1.scope", "session-1.scope", ""),
    f"0::/system.slice/docker-{HEXADECIMAL}.scope": (
        "docker:abababababab",
        "",
        "docker:abababababab",
    ),
    f"12:memory:/docker/{HEXADECIMAL}\n1:name=systemd:/docker/{HEXADECIMAL}\n0::/": (
        "docker:abababababab",
        "",
        "docker:abababababab",
    ),
    f"0::/machine.slice/libpod-{HEXADECIMAL}.scope/container": (
        "podman:abababababab",
        "",
        "podman:abababababab",
    ),
    f"0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-{HEXADECIMAL}.scope": (
        "containerd:abababababab",
        "",
        "containerd:abababababab",
    ),
    "0::/lxc.payload.web/system.slice/nginx.service": ("nginx.service", "nginx.service", "lxc:web"),
    "1:name=systemd:/system.slice/cron.service\n0::/": ("cron.service", "cron.service", ""),
    "0::/build/jobs": ("jobs", "", ""),
    "0::/": ("sleep", "", ""),
}


@pytest.mark.parametrize("text", GROUPS)
def test_application(text: str) -> None:
    found = application_in(text, "/bin/sleep 60")
    assert (found.name, found.unit, found.container) == GROUPS[text]
