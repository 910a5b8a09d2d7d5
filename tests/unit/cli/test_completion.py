"""What bash, zsh and fish complete, asked of these shells themselves."""

from __future__ import annotations

import os
import pty
import select
import shlex
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
import typer

from holdfast.cli.application import application
from holdfast.cli.typed.forms import CommandForm, Offer, form_of
from holdfast.cli.typed.shells import SCRIPTS

ROOT = form_of(typer.main.get_command(application))

NAMES = ["bank", "shop", "shop.2"]


def needs(shell: str) -> str:
    """The shell's program; skips where there is none."""
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"this host has no {shell}")
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts, and a `holdfast` in the search path that knows three volumes."""
    folder = tmp_path_factory.mktemp("completion")
    for shell, script in SCRIPTS.items():
        (folder / shell).write_text(script(ROOT))
    (folder / "bin").mkdir()
    command = folder / "bin" / "holdfast"
    command.write_text(
        f"#!/bin/sh\n[ \"$*\" = 'completion names' ] && printf '%s\\n' {' '.join(NAMES)}\n"
    )
    command.chmod(0o755)
    (folder / "one.img").touch()
    return folder


def environment(place: Path) -> dict[str, str]:
    """Nothing of whoever runs the tests."""
    path = f"{place / 'bin'}:/usr/bin:/bin"
    return {"PATH": path, "HOME": str(place), "TERM": "dumb", "LC_ALL": "C.UTF-8"}


def in_bash(place: Path, *words: str) -> set[str]:
    typed = " ".join(map(shlex.quote, words))
    program = (
        f"source {place}/bash; COMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}; _holdfast;"
        "printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    return offered([needs("bash"), "--norc", "--noprofile", "-c", program], place)


def in_fish(place: Path, *words: str) -> set[str]:
    typed = " ".join(words)
    program = f"source {place}/fish; complete -C {shlex.quote(typed)}"
    return offered([needs("fish"), "--no-config", "-c", program], place)


def offered(command: list[str], place: Path) -> set[str]:
    said = subprocess.run(
        command, check=True, capture_output=True, text=True, cwd=place, env=environment(place)
    )
    assert said.stderr == ""
    return {line.partition("\t")[0] for line in said.stdout.split("\n") if line}


EVERYWHERE = [
    (("holdfast", "vol"), {"volume"}),
    (("holdfast", "volume", "de"), {"detach", "delete"}),
    (("holdfast", "status", ""), set(NAMES)),
    (("holdfast", "volume", "show", "sh"), {"shop", "shop.2"}),
    (("holdfast", "volume", "create", ""), set()),
    (("holdfast", "volume", "attach", "--force", "ba"), {"bank"}),
    (("holdfast", "leg", "remove", "bank", ""), set()),
    (("holdfast", "volume", "create", "new", "--fs", ""), {"ext4", "xfs", "btrfs"}),
    (("holdfast", "volume", "create", "--size", "1G", "new", "--journal", "un"), {"unflushed"}),
    (("holdfast", "drill", "shop", "--fault", "leg-h"), {"leg-hang"}),
    (("holdfast", "volume", "hold", "shop", "--reas"), {"--reason"}),
    (("holdfast", "completion", ""), set()),
]


@pytest.mark.parametrize(("words", "expected"), EVERYWHERE)
def test_bash_and_fish_offer_the_same(
    place: Path, words: tuple[str, ...], expected: set[str]
) -> None:
    assert in_bash(place, *words) == expected
    assert in_fish(place, *words) == expected


@pytest.mark.parametrize(
    "words",
    [
        ("holdfast", "leg", "add", "shop", "file", ":", "on"),
        ("holdfast", "migrate", "shop", "--leg", "file", ":", "on"),
        ("holdfast", "volume", "adopt", "shop", "on"),
    ],
)
def test_bash_completes_paths(place: Path, words: tuple[str, ...]) -> None:
    """Also behind a colon, at which bash divides words."""
    assert in_bash(place, *words) == {"one.img"}


def test_an_option_and_its_value_may_be_one_word(place: Path) -> None:
    words = ("holdfast", "volume", "create", "new", "--fs", "=", "x")
    assert in_bash(place, *words) == {"xfs"}
    assert in_bash(place, *words[:-2], "=") == {"ext4", "xfs", "btrfs"}


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("holdfast volume sho", "holdfast volume show"),
        ("holdfast status ban", "holdfast status bank"),
        ("holdfast volume create new --fs bt", "holdfast volume create new --fs btrfs"),
        ("holdfast leg add bank file:on", "holdfast leg add bank file:one.img"),
    ],
)
def test_zsh_completes(place: Path, typed: str, completed: str) -> None:
    """In a terminal, as there is no other way to ask it."""
    program = needs("zsh")
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(place)
        os.execve(program, [program, "-f", "-i"], environment(place))
    try:
        first = (
            f"PS1=; autoload -U compinit; compinit -D -u; source {place}/zsh; print -r re''ady\n"
        )
        os.write(terminal, first.encode())
        read_until(terminal, "ready\r\n")
        os.write(terminal, f"{typed}\t".encode())
        read_until(terminal, completed)
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(terminal)


def read_until(terminal: int, text: str) -> None:
    """Wait until a terminal has shown that. Fails after a minute."""
    seen, deadline = b"", time.monotonic() + 60.0
    while text.encode() not in seen:
        assert select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))[0], seen
        seen += os.read(terminal, 1 << 16)


def test_no_word_means_anything_to_a_shell() -> None:
    """They are put between quotes, or split at spaces, without being looked at again."""
    for form in ROOT.everything():
        for option in form.options:
            words = [*form.words, *option.spellings, *(option.value.words if option.value else ())]
            assert all(word.replace("-", "").isalnum() for word in words)


def test_every_listed_value_is_offered() -> None:
    """Where the help says `a, b or c`, a shell offers a, b and c."""

    def words(form: CommandForm, spelling: str) -> tuple[str, ...]:
        found = next(each for each in form.options if spelling in each.spellings)
        assert found.value is not None
        assert found.value.offer is Offer.WORDS, (form.words, spelling)
        return found.value.words

    forms = {" ".join(form.words): form for form in ROOT.everything()}
    assert words(forms["freeze"], "--by") == ("hold", "cgroup", "signal", "priority", "page-out")
    assert "migrate" in words(forms["assess"], "--for")
    assert words(forms["volume gate"], "--fs") == ("ext4", "xfs", "btrfs")


# --- the names of volumes -------------------------------------------------------------------------


def names(home: Path) -> bytes:
    return subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "holdfast.cli", "completion", "names"],
        env={"HOLDFAST_HOME": str(home)},
        capture_output=True,
        check=True,
    ).stdout


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """With a catalog that somebody else has written."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    with closing(sqlite3.connect(state / "catalog.sqlite")) as catalog:
        catalog.execute("CREATE TABLE volumes (name)")
        catalog.executemany("INSERT INTO volumes VALUES (?)", [(name,) for name in NAMES])
        catalog.commit()
    return tmp_path


def test_names_that_no_volume_can_have_are_not_shown(home: Path) -> None:
    """A terminal and a shell act on what they are shown."""
    forged = ["\x1b]0;x\x07", "$(reboot)", "a b", "`id`", "-rf", "a\nb", "\u202eshop", "x" * 41, 7]
    with closing(sqlite3.connect(home / "state" / "catalog.sqlite")) as catalog:
        catalog.executemany("INSERT INTO volumes VALUES (?)", [(name,) for name in forged])
        catalog.execute("INSERT INTO volumes VALUES (?)", (b"\xff\xfe",))
        catalog.commit()
    assert names(home) == b"bank\nshop\nshop.2\n"


def test_names_need_nothing_heavy(home: Path) -> None:
    """Somebody has pressed a key, and waits."""
    said = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "holdfast.cli", "completion", "names"],
        env={"HOLDFAST_HOME": str(home)},
        capture_output=True,
        check=True,
    )
    loaded = {line.rpartition(b"|")[2].strip() for line in said.stderr.split(b"\n")}
    assert b"holdfast.catalog.names" in loaded
    heavy = (b"typer", b"click", b"rich", b"holdfast.volumes")
    assert not [name for name in loaded if name.partition(b".")[0] in heavy or name in heavy]


@pytest.mark.parametrize("damage", ["none", "empty", "garbage", "folder", "locked"])
def test_a_catalog_that_cannot_be_read_is_no_news(home: Path, damage: str) -> None:
    path = home / "state" / "catalog.sqlite"
    lock = None
    if damage == "locked":
        lock = sqlite3.connect(path)
        lock.execute("BEGIN EXCLUSIVE")
    else:
        path.unlink()
    if damage == "garbage":
        path.write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 40)
    elif damage == "empty":
        path.touch()
    elif damage == "folder":
        path.mkdir()
    assert names(home) == b""
    if lock is not None:
        lock.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who is judged")
def test_a_state_directory_of_somebody_else_is_not_believed(home: Path) -> None:
    os.chown(home / "state", 1234, 1234)
    assert names(home) == b""
