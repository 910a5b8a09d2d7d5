"""Single files of a volume as it was: seen, and put back under readers and among strangers."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import ContainerFailed, InvalidOption, NoSuchFile, Untrusted
from holdfast.service import Holdfast
from tests.kernel.gate.kept_volume import made
from tests.waiting import wait_until

STRANGER, OTHER = 12345, 12346


@pytest.fixture(name="holdfast")
def _holdfast(settings: Settings) -> Iterator[Holdfast]:
    with Holdfast(settings) as found:
        yield found


def own(path: Path, contents: str, owner: int = STRANGER, mode: int = 0o640) -> Path:
    """A file of somebody's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(contents)
    path.chmod(mode)
    os.chown(path, owner, owner)
    return path


def test_what_was_deleted_comes_back(holdfast: Holdfast, ram_directory: Path) -> None:
    view, before = holdfast.histories.files, {"home", "mnt-shop", "shop.img", "history", "copy.img"}
    with made(holdfast, ram_directory) as mount:
        holdfast.histories.keep("shop", str(ram_directory / "history"), None, None)
        holdfast.histories.copies.add("shop", f"file:{ram_directory}/copy.img")
        own(mount / "a" / "b" / "deep", "deep")
        own(mount / "a" / "open", "as it was, and longer")
        own(mount / "taken", "secret", mode=0o600)
        own(mount / "linked", "of the stranger")
        (mount / "a" / "link").symlink_to("b/deep")
        os.mkfifo(mount / "a" / "fifo")
        subprocess.run(["sync", "--file-system", mount], check=True)
        when = time.time()
        wait_until(lambda: time.time() > when + 0.01)
        at = datetime.fromtimestamp(when).isoformat(" ")
        for each in (mount / "a" / "b" / "deep", mount / "a" / "link", mount / "a" / "fifo"):
            each.unlink()
        (mount / "a" / "b").rmdir()
        (mount / "a" / "open").write_text("garbage")
        (mount / "taken").unlink()
        own(mount / "taken", "", OTHER)
        (mount / "linked").unlink()
        own(mount / "important", "important")
        (mount / "linked").hardlink_to(mount / "important")
        with (mount / "a" / "open").open() as reader:
            found = {each.name: each for each in view.show("shop", at, str(mount / "a"))}
            assert set(found) == {"b", "fifo", "link", "open"}
            assert (found["b"].kind, found["open"].size_bytes) == ("directory", 21)
            assert [each.name for each in view.show("shop", at, "/a/b/deep")] == ["deep"]
            brought = view.restore("shop", at, "a")
            assert reader.read() == "as it was, and longer"
        assert (brought.files, brought.left) == (3, ["fifo: it was a fifo"])
        deep = (mount / "a" / "link").lstat(), (mount / "a" / "b" / "deep").stat()
        assert (deep[1].st_uid, deep[1].st_mode & 0o777) == (STRANGER, 0o640)
        assert (mount / "a" / "link").read_text() == "deep"
        (mount / "a").rename(mount / "gone")
        assert view.restore("shop", at, str(mount / "a")).files == 3
        assert (mount / "a" / "link").read_text() == "deep"
        (mount / "linked").rename(mount / "renamed")
        assert (
            view.restore("shop", at, "linked").files,
            view.restore("shop", at, "/linked").left,
        ) == (1, [])
        (mount / "renamed").replace(mount / "linked")
        assert view.restore("shop", at, "taken").left[0].endswith("of another owner is there now")
        assert (mount / "taken").read_text() == ""
        assert "several names" in view.restore("shop", at, "linked").left[0]
        assert (mount / "important").read_text() == "important"
        # Who owns a directory on the way cannot lead elsewhere.
        (mount / "a").rename(mount / "away")
        outside = ram_directory / "outside"
        outside.mkdir()
        (mount / "a").symlink_to(outside)
        with pytest.raises(ContainerFailed):
            view.restore("shop", at, "a/open")
        assert not list(outside.iterdir())
        assert view.restore("shop", at, "a/open", str(outside)).files == 1
        assert (outside / "open").read_text() == "as it was, and longer"
        (outside / "below").mkdir()
        outside.chmod(0o777)
        with pytest.raises(Untrusted):
            view.restore("shop", at, "a/b", str(outside / "below"))
        for path in ("../x", "/", "a/../b"):
            with pytest.raises(InvalidOption):
                view.restore("shop", at, path)
        with pytest.raises(NoSuchFile):
            view.show("shop", at, "nothing")
        assert {each.name for each in ram_directory.iterdir()} == before | {"outside"}
        holdfast.histories.copies.remove("shop", f"file:{ram_directory}/copy.img")
