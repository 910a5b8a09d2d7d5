"""The last restore is taken back under its users: from what it left, while that is as it was."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import Blocked
from holdfast.model.finding import Verdict
from holdfast.service import Holdfast, MigrateRequest, RestoreRequest, intended, perform
from tests.kernel.copies.test_rewound import Follower, moment
from tests.kernel.gate.kept_volume import made


def test_under_its_users(settings: Settings, ram_directory: Path) -> None:
    undo = RestoreRequest("shop", undo=True)
    older, moved = ram_directory / "older", ram_directory / "moved.img"
    older.mkdir()
    (older / "kept").write_text("older")
    with Holdfast(settings) as holdfast, made(holdfast, ram_directory) as mount:
        with pytest.raises(Blocked, match="no restore"):
            perform(holdfast, undo)
        (mount / "kept").write_text("dear")
        (mount / "later").touch()
        moment(mount)
        follower = Follower(mount)
        perform(holdfast, RestoreRequest("shop", str(older)))
        assert follower.sees() == "older False False"
        (mount / "deleted").write_text("written since")
        left = ram_directory / "shop.img"

        # Another one is there, somebody wrote to it, it is gone: each is refused.
        os.rename(left, moved)  # noqa: PTH104 - as mv
        with pytest.raises(Blocked, match="is not there"):
            intended(holdfast, undo)
        shutil.copy2(moved, left)
        with pytest.raises(Blocked, match="changed or exchanged"):
            intended(holdfast, undo)
        os.rename(moved, left)  # noqa: PTH104 - as mv
        status = left.stat()
        with left.open("r+b") as image:
            image.seek(5 << 20)
            image.write(b"x")
        with pytest.raises(Blocked, match="changed or exchanged"):
            perform(holdfast, undo)
        with left.open("r+b") as image:
            image.seek(5 << 20)
            image.write(b"\0")
        os.utime(left, ns=(status.st_atime_ns, status.st_mtime_ns))

        intention = intended(holdfast, undo)
        told = next(each for each in intention.found.plan.findings if each.subject == "undo")
        assert told.verdict is Verdict.LIMITED
        assert "written since" in told.meaning
        perform(holdfast, undo)
        assert follower.sees() == "dear False True"
        with pytest.raises(Blocked, match="other storage"):
            perform(holdfast, intention.request)
        # What was taken back is had again in the same way.
        perform(holdfast, undo)
        assert follower.sees() == "older True False"
        follower.end()
        target = f"file:{ram_directory}/target.img"
        perform(holdfast, MigrateRequest("shop", (target,), filesystem="btrfs"))
        with pytest.raises(Blocked, match="a migrate"):
            perform(holdfast, undo)
