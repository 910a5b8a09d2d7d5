"""Files of /proc are read as a whole, however long they are."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from holdfast.system.proc import opened_folder, read, read_record

_IN_MODIFY = 2


def test_a_record_that_is_longer_than_one_read(tmp_path: Path) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    instance = library.inotify_init1(os.O_CLOEXEC)
    try:
        for number in range(200):
            (tmp_path / str(number)).mkdir()
            watched = os.fsencode(tmp_path / str(number))
            assert library.inotify_add_watch(instance, watched, _IN_MODIFY) > 0
        text = read_record(f"/proc/self/fdinfo/{instance}")
        assert text == read(f"/proc/self/fdinfo/{instance}")
        assert text.count(b"inotify wd:") == 200
        with opened_folder("/proc/self/fdinfo") as folder:
            assert read_record(str(instance), folder) == text
    finally:
        os.close(instance)


def test_short_records() -> None:
    for name in ("limits", "cgroup"):
        assert read_record(f"/proc/self/{name}") == read(f"/proc/self/{name}")
