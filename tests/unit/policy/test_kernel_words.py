"""What the kernel says of devices is understood, and nothing that others can make it say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.policy.kernel_words import Heard, Word, is_within, report_of
from holdfast.system.messages.kernel_log import parse_record

SAID = {
    "I/O error, dev loop3, sector 75904 op 0x1:(WRITE) flags 0x1000 phys_seg 4 prio class 2":
        Heard("loop3", Word.DEVICE, 75904),
    "critical medium error, dev sda, sector 8 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2":
        Heard("sda", Word.DEVICE, 8),
    "Buffer I/O error on dev loop3, logical block 15, lost sync page write":
        Heard("loop3", Word.DEVICE),
    "JBD2: I/O error when updating journal superblock for loop3-8.": Heard("loop3", Word.DEVICE),
    "EXT4-fs error (device dm-0): ext4_wait_block_bitmap:582: comm x: Cannot read block bitmap":
        Heard("dm-0", Word.FILE_SYSTEM),
    "EXT4-fs (loop3): I/O error while writing superblock": Heard("loop3", Word.FILE_SYSTEM),
    "EXT4-fs (loop4): Remounting filesystem read-only": Heard("loop4", Word.READ_ONLY),
    "Aborting journal on device loop4-8.": Heard("loop4", Word.READ_ONLY),
    'XFS (loop4): metadata I/O error in "xfs_alloc_read_agfl+0x8b/0x100" at daddr 0x18 len 8':
        Heard("loop4", Word.FILE_SYSTEM),
    "XFS (loop4): Filesystem has been shut down due to log error (0x2).":
        Heard("loop4", Word.FILE_SYSTEM),
    "BTRFS error (device loop3): bdev /dev/loop3 errs: wr 2, rd 0, flush 0, corrupt 0, gen 0":
        Heard("loop3", Word.FILE_SYSTEM),
    "BTRFS: error (device loop3 state EA) in cleanup_transaction:2038: errno=-5 IO failure":
        Heard("loop3", Word.FILE_SYSTEM),
    "EXT4-fs (loop0): mounted filesystem b09b7826-c821-416c-818e-3662cd020e8b r/w with ordered":
        Heard("loop0", Word.ANEW),
    "sd 2:0:0:0: [sdb] Attached SCSI disk": Heard("sdb", Word.ANEW),
    "XFS (loop0): Ending clean mount": Heard("loop0", Word.ANEW),
    "loop0: detected capacity change from 0 to 131072": Heard("loop0", Word.ANEW),
}  # fmt: skip

OF_NO_INTEREST = (
    "operation not supported error, dev loop3, sector 1 op 0x9:(WRITE_ZEROES) flags 0x0 phys_seg 0",
    "I/O error, dev sda, sector 1 op 0x3:(DISCARD) flags 0x0 phys_seg 1 prio class 2",
    "EXT4-fs (loop0): re-mounted b09b7826 ro.",
    "EXT4-fs error (d[12]: segfault at 0 ip 0 sp 0 error 4 in a[1000+1]",
    "x: I/O error, dev sda, sector 1 op 0x0:(READ) flags 0x0 phys_seg 1",
    "BTRFS info (device loop3): forced readonly",
    "",
)


@pytest.mark.parametrize("text", SAID)
def test_what_is_said(text: str) -> None:
    assert report_of(text) == SAID[text]


@pytest.mark.parametrize("text", OF_NO_INTEREST)
def test_what_is_of_no_interest(text: str) -> None:
    assert report_of(text) is None


def test_partitions_are_within_their_disk() -> None:
    assert is_within("sda", "sda") and is_within("sda12", "sda") and is_within("loop1p2", "loop1")
    assert not is_within("loop10", "loop1") and not is_within("sdaa", "sda")
    assert not is_within("sda", "sda1") and not is_within("sda1", "")


def test_only_the_kernels_own_whole_messages_count() -> None:
    text = "EXT4-fs error (device sda): it fails"
    whole = parse_record(f"2,339,5140900,-;{text}\n SUBSYSTEM=block\n DEVICE=b8:0\n".encode())
    assert whole is not None and (whole.seconds, whole.text) == (5.1409, text)
    assert parse_record(f"2,339,5140900,-,caller=T12;{text}\n".encode()) == whole
    for prefix in ("10,339,5140900,-", "26,339,5140900,-", "2,339,5140900,c", "2,339"):
        assert parse_record(f"{prefix};{text}\n".encode()) is None
    for said in (b"", b"\x00", b"\xff" * 100, b"2,1,1,-" + b";" * 10_000):
        parse_record(said)


COMMAND_NAME = st.text(max_size=15)
"""TASK_COMM_LEN - 1: what a process may call itself, at the beginning of a message."""


@given(
    COMMAND_NAME,
    st.sampled_from([
        "[12]: segfault at 0 ip 00007f sp 00007f error 4 in a[400000+1]",
        " (12) used greatest stack depth: 1 bytes left",
        ": attempt to access beyond end of device\\x0aloop0: rw=0, sector=1",
        " invoked oom-killer: gfp_mask=0x0, order=0, oom_score_adj=0",
        " uses wireless extensions which will stop working for Wi-Fi 7 hardware",
    ]),
)  # fmt: skip
def test_a_process_cannot_call_itself_a_message(name: str, rest: str) -> None:
    assert report_of(name + rest) is None


@given(st.text(max_size=200))
def test_what_follows_names_no_other_device(text: str) -> None:
    report = report_of(f"EXT4-fs error (device loop0): ext4_lookup:1: inode #2: comm {text}: bad")
    assert report == Heard("loop0", Word.FILE_SYSTEM)
