"""A replica equals its source after any history of changes, whenever the passes happened."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from holdfast.restoration.copying.passes import Replica
from holdfast.restoration.copying.trees.folders import Folders
from holdfast.restoration.copying.trees.tree import Tree, differences, signature_of, walk

names = st.sampled_from(["a", "b", "c", "d/a", "d/b", "d/e/a", "f/a"])
folders = st.sampled_from(["d", "d/e", "f"])
contents = st.binary(max_size=64) | st.sampled_from([b"x" * 5000, bytes(300_000)])


def replica(source: Path, target: Path) -> Replica:
    return Replica(os.fsencode(source), os.fsencode(target), sync_source=lambda: None)


def walked(root: Path) -> Tree:
    with closing(Folders(os.fsencode(root))) as folders:
        return walk(folders).tree


def read_tree(root: Path) -> dict[str, object]:
    """Everything that a reader can tell: by another way than the code under test."""
    found: dict[str, object] = {}
    groups: dict[int, list[str]] = {}
    for folder, directories, files in os.walk(root):
        for name in directories + files:
            path = Path(folder) / name
            status = path.lstat()
            key = str(path.relative_to(root))
            what: object = "directory"
            if path.is_symlink():
                what = str(path.readlink())
            elif path.is_file():
                what = path.read_bytes()
                groups.setdefault(status.st_ino, []).append(key)
            owner = (status.st_uid, status.st_gid, status.st_mode)
            found[key] = (what, owner, status.st_mtime_ns)
    found["links"] = sorted(sorted(group) for group in groups.values())
    return found


class Histories(RuleBasedStateMachine):
    """Someone changes a tree in every way, and a pass happens now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="hf-copy-"))
        self.source, self.target = self.folder / "source", self.folder / "target"
        self.source.mkdir()
        self.target.mkdir()
        self.replica = Replica(os.fsencode(self.source), os.fsencode(self.target), lambda: None)

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def place(self, name: str) -> Path | None:
        path = self.source / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            return None
        return path

    @rule(name=names, data=contents)
    def write(self, name: str, data: bytes) -> None:
        path = self.place(name)
        if path is not None and not path.is_dir() and not path.is_symlink():
            path.write_bytes(data)

    @rule(name=names, offset=st.integers(0, 400_000), data=contents)
    def change(self, name: str, offset: int, data: bytes) -> None:
        path = self.source / name
        if path.is_file():
            with path.open("r+b") as file:
                file.seek(offset)
                file.write(data)

    @rule(name=names, data=st.binary(min_size=1, max_size=8))
    def change_and_hide_the_time(self, name: str, data: bytes) -> None:
        path = self.source / name
        if path.is_file():
            times = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
            with path.open("r+b") as file:
                file.write(data)
            os.utime(path, ns=times)

    @rule(name=names, size=st.integers(0, 100_000))
    def truncate(self, name: str, size: int) -> None:
        path = self.source / name
        if path.is_file():
            os.truncate(path, size)

    @rule(old=names | folders, new=names | folders)
    def rename(self, old: str, new: str) -> None:
        target = self.place(new)
        try:
            if target is not None:
                (self.source / old).rename(target)
        except OSError:
            return

    @rule(old=names, new=names)
    def link(self, old: str, new: str) -> None:
        target = self.place(new)
        try:
            if target is not None:
                os.link(self.source / old, target)
        except OSError:
            return

    @rule(name=names)
    def symlink(self, name: str) -> None:
        path = self.place(name)
        if path is not None and not os.path.lexists(path):
            path.symlink_to("somewhere/else")

    @rule(name=names)
    def unlink(self, name: str) -> None:
        path = self.source / name
        if os.path.lexists(path) and not path.is_dir():
            path.unlink()

    @rule(name=folders)
    def remove_folder(self, name: str) -> None:
        path = self.source / name
        if path.is_dir():
            shutil.rmtree(path)

    @rule(name=names | folders, mode=st.sampled_from([0o600, 0o4755, 0o1777, 0o000]))
    def chmod(self, name: str, mode: int) -> None:
        path = self.source / name
        if path.exists() and not path.is_symlink():
            path.chmod(mode | (0o700 if path.is_dir() else 0))

    @rule()
    def run_pass(self) -> None:
        result = self.replica.run_pass(verify=True)
        assert result.differences == []
        assert read_tree(self.target) == read_tree(self.source)

    @invariant()
    def source_and_known_agree_on_what_is_a_name(self) -> None:
        assert all(not path.startswith(b".holdfast") for path in self.replica.known)


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    return source, target


def test_what_did_not_change_is_not_read_again(trees: tuple[Path, Path]) -> None:
    source, target = trees
    (source / "old").write_bytes(b"1" * 100_000)
    deadline = time.monotonic() + 5
    copier = replica(source, target)
    copier.run_pass()
    while copier.run_pass().copied_files and time.monotonic() < deadline:
        pass  # its change time was too young to be trusted
    (source / "new").write_bytes(b"2")
    result = copier.run_pass()
    assert (result.copied_files, result.written_bytes) == (1, 1)


def test_only_what_differs_is_written(trees: tuple[Path, Path]) -> None:
    source, target = trees
    (source / "big").write_bytes(bytes(1) * (4 << 20) + b"1" * (4 << 20))
    copier = replica(source, target)
    copier.run_pass()
    with (source / "big").open("r+b") as file:
        file.seek(5 << 20)
        file.write(b"2")
    assert copier.run_pass().written_bytes == 1 << 20


def test_holes_stay_holes(trees: tuple[Path, Path]) -> None:
    source, target = trees
    with (source / "sparse").open("wb") as file:
        file.seek(64 << 20)
        file.write(b"end")
    copier = replica(source, target)
    copier.run_pass()
    assert (target / "sparse").stat().st_size == (64 << 20) + 3
    assert (target / "sparse").stat().st_blocks * 512 < 1 << 20


def test_a_rename_costs_no_copying(trees: tuple[Path, Path]) -> None:
    source, target = trees
    (source / "a").write_bytes(b"1" * 1_000_000)
    copier = replica(source, target)
    copier.run_pass()
    (source / "a").rename(source / "b")
    result = copier.run_pass(verify=True)
    assert result.written_bytes == 0
    assert result.differences == []


def test_attributes_times_and_fifos_are_kept(trees: tuple[Path, Path]) -> None:
    source, target = trees
    path = source / "file"
    path.write_bytes(b"x")
    try:
        os.setxattr(path, "user.colour", b"blue")
    except OSError:
        pytest.skip("no extended attributes here")
    os.utime(path, ns=(123_456_789, 987_654_321))
    os.mkfifo(source / "fifo", 0o640)
    copier = replica(source, target)
    copier.run_pass()
    assert os.getxattr(target / "file", "user.colour") == b"blue"
    assert (target / "file").stat().st_mtime_ns == 987_654_321
    assert (target / "file").stat().st_atime_ns == 123_456_789
    assert (source / "file").stat().st_atime_ns == 123_456_789
    assert (target / "fifo").is_fifo()
    os.removexattr(path, "user.colour")
    copier.run_pass()
    assert os.listxattr(target / "file") == []


def test_what_an_interrupted_copy_left_in_the_target_goes(trees: tuple[Path, Path]) -> None:
    source, target = trees
    (target / "stray").mkdir()
    (target / "stray/file").write_bytes(b"x")
    (target / "lost+found").mkdir()
    replica(source, target).run_pass(verify=True)
    assert [path.name for path in target.iterdir()] == ["lost+found"]


def test_a_difference_is_named(trees: tuple[Path, Path]) -> None:
    source, target = trees
    for folder in trees:
        (folder / "file").write_bytes(b"12")
    os.utime(source / "file", ns=(1, 1))
    os.utime(target / "file", ns=(1, 1))
    ours, theirs = walked(source), walked(target)
    ours[b""] = theirs[b""] = signature_of(source.stat())
    assert differences(ours, theirs) == []
    (target / "file").write_bytes(b"123")
    theirs = walked(target)
    theirs[b""] = ours[b""]
    assert "3 bytes instead of 2" in "\n".join(differences(ours, theirs))
