"""Names that strangers choose do not break the texts of /proc apart in the wrong places."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import holdfast
from holdfast.system.mounts.mount_table import parse_mountinfo
from holdfast.system.proc_text import (
    Swap,
    field,
    lines,
    number_of,
    parse_control_groups,
    parse_maps,
    parse_stat,
    parse_swaps,
    unescaped,
)

REST = b" S 1 2 3 0 -1 4194560 " + b" ".join(str(n).encode() for n in range(10, 53)) + b"\n"
NAMES = st.binary(min_size=1, max_size=40).filter(lambda name: b"\0" not in name)
"""Whatever a process or file may be called."""


@pytest.mark.parametrize(
    "name", [b"sh", b"a) S 1 (b", b"a b", b"a\nb", b"a\x1cb\x85", b"caf\xe9", b")", b"("]
)
def test_the_name_of_a_process_may_be_anything(name: bytes) -> None:
    stat = parse_stat(b"4711 (" + name + b")" + REST)
    assert (stat.pid, stat.name, stat.state, stat.parent) == (4711, os.fsdecode(name), "S", 1)
    assert stat.kernel_thread is False
    assert (stat.threads, stat.start_time) == (20, 22)


def test_the_stat_of_a_process_that_ended_is_refused() -> None:
    for text in (b"", b"4711 (sh", b"4711 (sh) Z 1"):
        with pytest.raises(ValueError, match=r".*"):
            parse_stat(text)


def test_own_stat_is_read_as_ps_reads_it() -> None:
    stat = parse_stat(Path("/proc/self/stat").read_bytes())
    assert (stat.pid, stat.parent, stat.session) == (os.getpid(), os.getppid(), os.getsid(0))


@given(NAMES)
def test_a_mapped_file_may_be_called_anything(name: bytes) -> None:
    written = b"/m/" + name.replace(b"\n", b"\\012")
    text = (
        b"7f0000-7f2000 rw-s 00001000 00:27 257" + b" " * 20 + written + b"\n"
        b"7f3000-7f4000 r-xp 00000000 00:00 0                  [vdso]\n"
        b"7f5000-7f6000 rw-p 00000000 00:00 0 \n"
    )
    file, vdso, anonymous = parse_maps(text)
    shown = os.fsdecode(b"/m/" + name.replace(b"\\012", b"\n"))
    assert (file.path, file.device, file.inode, file.offset) == (shown, (0, 39), 257, 0x1000)
    assert (vdso.path, vdso.mode, anonymous.path) == ("[vdso]", "r-xp", "")
    assert parse_maps(text, [b"00:27"]) == [file]


@given(NAMES, NAMES, NAMES)
def test_a_mount_may_be_called_anything(path: bytes, source: bytes, root: bytes) -> None:
    def mangled(name: bytes) -> bytes:
        # mangle_path() of fs/seq_file.c
        return b"".join(b"\\%03o" % c if c in b" \t\n\\#" else bytes([c]) for c in name)

    line = b"42 28 7:0 /%b /%b rw,noatime shared:3 - fuse.x %b rw\n" % (
        mangled(root), mangled(path), mangled(source),
    )  # fmt: skip
    (mount,) = parse_mountinfo(line)
    assert mount.path == "/" + os.fsdecode(path)
    assert (mount.root, mount.source) == ("/" + os.fsdecode(root), os.fsdecode(source))
    assert (mount.tags, mount.super_options) == (("shared:3",), "rw")


def test_octal_escapes_are_bytes_of_a_name() -> None:
    assert unescaped(b"/srv/f\\303\\274r\\040alle") == "/srv/für alle"
    assert unescaped(b"/srv/\\777 \\04") == "/srv/\\777 \\04"


def test_only_a_newline_ends_a_line() -> None:
    assert lines(b"a\rb\x0bc\x0cd\x1ce\xc2\x85f\ng\n") == [b"a\rb\x0bc\x0cd\x1ce\xc2\x85f", b"g"]
    assert lines(b"") == []
    assert lines(b"\na") == [b"", b"a"]


def test_a_field_is_found_by_the_whole_of_its_name() -> None:
    text = (
        b"Name:\tx\\nCapEff: 7\nMyTracerPid:\t9\nTracerPid:\t4711\nVmRSS:\t  12 kB\nCapEff:\t1f\n"
    )
    assert field(text, b"Name") == b"x\\nCapEff: 7"
    assert number_of(text, b"TracerPid") == 4711
    assert number_of(text, b"VmRSS") == 12
    assert number_of(text, b"CapEff", 16) == 0x1F
    assert number_of(text, b"Absent") is None


def test_swaps_and_control_groups() -> None:
    text = (
        b"Filename Type Size Used Priority\n/sw\\040ap\xe9 file 1024 4 7\n/dev/x partition 8 0 -2\n"
    )
    assert parse_swaps(text) == [
        Swap(os.fsdecode(b"/sw ap\xe9"), True, 1 << 20, 4096, 7),
        Swap("/dev/x", False, 8192, 0, -2),
    ]
    assert parse_control_groups(b"1:name=systemd:/a\n0::/b:c\x0cd\n") == [
        ("1", "name=systemd", "/a"),
        ("0", "", "/b:c\x0cd"),
    ]


# --- nobody takes such a text apart elsewhere --------------------------------------------------


OTHERS_LINES = {
    "system/children/run.py",
    "system/storage/filesystem.py",
    "restoration/assessing/not_kept.py",
    "demo/stage.py",
}
"""Lines that programs print, with names that are ours or escaped by them."""


def test_no_other_module_splits_lines_or_reads_proc_as_text() -> None:
    package = Path(holdfast.__file__).parent
    found = []
    for path in sorted(package.rglob("*.py")):
        place = path.relative_to(package).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if node.func.attr == "splitlines" and place not in OTHERS_LINES:
                found.append(f"{place}:{node.lineno}: splitlines")
            source = ast.unparse(node)
            names = ("maps", "comm", "mountinfo", "status", "stat", "fdinfo", "cmdline", "smaps")
            if (
                node.func.attr == "read_text"
                and "/proc/" in source
                and any(f"/{name}" in source for name in names)
            ):
                found.append(f"{place}:{node.lineno}: {source}")
    assert not found
