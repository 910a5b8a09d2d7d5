"""Whoever changes the tree while it is copied gets nothing copied that was not walked there."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.restoration.copying.passes import Replica


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text("root's own")
    (tmp_path / "outside/secret").chmod(0o600)
    return source, target


def replica(trees: tuple[Path, Path], meanwhile: Callable[[], None]) -> Replica:
    """`meanwhile` happens between the walk and the copy of every pass."""
    return Replica(os.fsencode(trees[0]), os.fsencode(trees[1]), meanwhile)


def once(work: Callable[[], None]) -> Callable[[], None]:
    left = [work]

    def meanwhile() -> None:
        if left:
            left.pop()()

    return meanwhile


def contents(root: Path) -> list[str]:
    return [path.read_text() for path in sorted(root.rglob("*")) if path.is_file()]


def test_a_directory_that_becomes_a_link(trees: tuple[Path, Path], tmp_path: Path) -> None:
    source, target = trees
    (source / "d").mkdir()
    (source / "d/secret").write_text("decoy....!")

    def swap() -> None:
        (source / "d").rename(source / "e")
        (source / "d").symlink_to(tmp_path / "outside")

    copier = replica(trees, once(swap))
    copier.run_pass()
    assert "root's own" not in contents(target)
    assert copier.run_pass(verify=True).differences == []
    assert (target / "d").is_symlink()
    assert (target / "e/secret").read_text() == "decoy....!"


def test_a_file_whose_place_another_inode_takes(trees: tuple[Path, Path], tmp_path: Path) -> None:
    source, target = trees
    (source / "file").write_text("mine")
    (source / "secret").write_text("root's own")

    def swap() -> None:
        (source / "file").rename(source / "away")
        os.link(source / "secret", source / "file")

    copier = replica(trees, once(swap))
    copier.run_pass()
    assert not (target / "file").exists()
    assert copier.run_pass(verify=True).differences == []
    assert (target / "file").samefile(target / "secret")


@pytest.mark.parametrize("becomes", ["directory", "fifo", "link", "nothing"])
@pytest.mark.parametrize("was", ["directory", "fifo", "link", "file"])
def test_what_changes_its_kind(trees: tuple[Path, Path], was: str, becomes: str) -> None:
    source, _ = trees
    make = {
        "directory": lambda path: (path.mkdir(), (path / "in").write_text("y")),
        "fifo": os.mkfifo,
        "link": lambda path: path.symlink_to("/etc/hostname"),
        "file": lambda path: path.write_text("x"),
        "nothing": lambda path: None,
    }
    place = source / "odd"
    make[was](place)

    def change() -> None:
        shutil.rmtree(place) if was == "directory" else place.unlink()
        make[becomes](place)

    copier = replica(trees, once(change))
    copier.run_pass()
    assert copier.run_pass(verify=True).differences == []


def test_a_file_that_is_replaced_by_rename_in_every_pass(trees: tuple[Path, Path]) -> None:
    source, target = trees
    number = 0

    def rotate() -> None:
        nonlocal number
        for _ in range(3):
            number += 1
            (source / "status.tmp").write_text(str(number))
            (source / "status.tmp").rename(source / "status")
        (source / "status.tmp").write_text("next")

    rotate()
    copier = replica(trees, rotate)
    for _ in range(5):
        copier.run_pass()
    still = Replica(os.fsencode(source), os.fsencode(target), lambda: None)
    assert still.run_pass(verify=True).differences == []
    assert (target / "status").read_text() == str(number)


def test_names_of_ours_touch_nobody_elses(trees: tuple[Path, Path], tmp_path: Path) -> None:
    source, target = trees
    (source / ".holdfast-renamed").symlink_to(tmp_path / "outside")
    (source / "a").write_text("1")
    (source / "b").write_text("2")
    copier = replica(trees, lambda: None)
    copier.run_pass()
    (source / "a").rename(source / "c")
    (source / "b").rename(source / "a")
    (source / "c").rename(source / "b")
    assert copier.run_pass(verify=True).differences == []
    assert (target / "a").read_text() == "2"
    assert (tmp_path / "outside/secret").read_text() == "root's own"
    assert sorted(path.name for path in target.iterdir()) == [".holdfast-renamed", "a", "b"]


def test_links_that_lie_in_the_target_lead_nowhere(
    trees: tuple[Path, Path], tmp_path: Path
) -> None:
    source, target = trees
    (source / "d").mkdir()
    (source / "d/secret").write_text("new")
    (target / "d").symlink_to(tmp_path / "outside")
    (target / "lost+found").symlink_to(tmp_path / "outside")
    copier = replica(trees, lambda: None)
    assert copier.run_pass(verify=True).differences == []
    assert (tmp_path / "outside/secret").read_text() == "root's own"
    assert (target / "d/secret").read_text() == "new"


@pytest.mark.parametrize("kind", ["link", "file", "directory"])
def test_lost_and_found_of_any_kind(trees: tuple[Path, Path], kind: str) -> None:
    source, target = trees
    (target / "lost+found").mkdir()
    copier = replica(trees, lambda: None)
    copier.run_pass()
    place = source / "lost+found"
    if kind == "link":
        place.symlink_to("/etc")
    elif kind == "file":
        place.write_text("x")
    else:
        place.mkdir()
    assert copier.run_pass(verify=True).differences == []
    place.rmdir() if kind == "directory" else place.unlink()
    assert copier.run_pass(verify=True).differences == []


def test_rights_only_for_contents_that_were_there_all_the_time(trees: tuple[Path, Path]) -> None:
    source, target = trees
    program = source / "program"
    program.write_bytes(b"x" * 100)
    program.chmod(0o4755)
    copier = replica(trees, lambda: None)
    copier.run_pass()
    assert stat.S_IMODE((target / "program").stat().st_mode) == 0o4755
    program.write_bytes(b"y" * 100)
    program.chmod(0o755)
    assert copier.run_pass(verify=True).differences == []


def test_paths_longer_than_any_program_can_use(trees: tuple[Path, Path]) -> None:
    source, _ = trees
    name = b"n" * 250
    folder = os.open(source, os.O_RDONLY)
    for _ in range(20):
        os.mkdir(name, dir_fd=folder)
        deeper = os.open(name, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = deeper
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
    os.close(folder)
    copier = replica(trees, lambda: None)
    assert copier.run_pass(verify=True).differences == []
    (source / os.fsdecode(name)).rename(source / "short")
    assert copier.run_pass(verify=True).differences == []
    assert len(copier.known) == 22


def test_a_large_directory_that_is_renamed_costs_one_rename(trees: tuple[Path, Path]) -> None:
    source, target = trees
    (source / "daily.0/deep").mkdir(parents=True)
    for number in range(300):
        (source / f"daily.0/deep/{number}").write_text("x")
    copier = replica(trees, lambda: None)
    copier.run_pass()
    copier.run_pass()
    before = {path.name: path.stat().st_ctime_ns for path in (target / "daily.0/deep").iterdir()}
    while copier.run_pass().copied_files:
        before = {p.name: p.stat().st_ctime_ns for p in (target / "daily.0/deep").iterdir()}
    (source / "daily.0").rename(source / "daily.1")
    (source / "new").mkdir()
    (source / "daily.1/deep").rename(source / "new/deep")
    result = copier.run_pass(verify=True)
    assert (result.copied_files, result.differences) == (0, [])
    after = {path.name: path.stat().st_ctime_ns for path in (target / "new/deep").iterdir()}
    assert after == before


def test_directories_that_change_places(trees: tuple[Path, Path]) -> None:
    source, target = trees
    (source / "a/b/c").mkdir(parents=True)
    for place in ("a", "a/b", "a/b/c"):
        (source / place / "file").write_text(place)
    copier = replica(trees, lambda: None)
    copier.run_pass()
    (source / "a/b/c").rename(source / "c")
    (source / "a/b").rename(source / "c/b")
    (source / "a").rename(source / "c/b/a")
    (source / "a").mkdir()
    (source / "a/file").write_text("another")
    assert copier.run_pass(verify=True).differences == []
    assert (target / "c/b/a/file").read_text() == "a"
    assert (target / "a/file").read_text() == "another"
