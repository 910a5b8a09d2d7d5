"""State and run directory are believed only when nobody but root can have made what is there."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

STRANGER = 65534

Prepare = Callable[[Path], None]


def _strangers(place: Path) -> None:
    place.mkdir(0o700)
    os.chown(place, STRANGER, STRANGER)


def _open_to_all(place: Path) -> None:
    place.mkdir()
    place.chmod(0o1777)


def _link(place: Path) -> None:
    elsewhere = place.with_name("elsewhere")
    elsewhere.mkdir(0o700)
    place.symlink_to(elsewhere)


@pytest.mark.parametrize("prepare", [_strangers, _open_to_all, _link])
@pytest.mark.parametrize("name", ["state", "run"])
@pytest.mark.parametrize(
    "command", [("volume", "list"), ("recover",), ("thaw", "shop"), ("receipt", "list")]
)
def test_no_command_believes_a_place_that_others_could_make(
    holdfast_home: Path,
    run_holdfast: Callable[..., object],
    prepare: Prepare,
    name: str,
    command: tuple[str, ...],
) -> None:
    prepare(holdfast_home / name)
    done = run_holdfast(*command, check=False)
    assert done.returncode == 3, done.stderr
    assert "error[TRUST]" in done.stderr
    assert str(holdfast_home / name) in done.stderr
    assert "mend:" in done.stderr
    assert not any((holdfast_home / name).iterdir())


@pytest.mark.parametrize("prepare", [_strangers, _open_to_all, _link])
def test_nor_a_home_or_what_is_above_it(
    holdfast_home: Path,
    run_holdfast: Callable[..., object],
    prepare: Prepare,
) -> None:
    theirs = holdfast_home / "theirs"
    prepare(theirs)
    homes = [theirs]
    if prepare is _strangers:
        homes.append(theirs / "below" / "home")
    for home in homes:
        done = run_holdfast("volume", "list", check=False, HOLDFAST_HOME=str(home))
        assert done.returncode == 3, done.stderr
        assert "error[TRUST]" in done.stderr
    assert not any(theirs.iterdir())


def test_a_place_that_others_could_only_read_becomes_private(
    holdfast_home: Path, run_holdfast: Callable[..., object]
) -> None:
    (holdfast_home / "state").mkdir(0o755)
    run_holdfast("volume", "list")
    (holdfast_home / "run").mkdir(0o755)
    run_holdfast("volume", "list")
    for name in ("state", "run"):
        assert stat.S_IMODE((holdfast_home / name).stat().st_mode) == 0o700
    assert stat.S_IMODE(holdfast_home.stat().st_mode) == 0o755


def test_doctor_names_the_place_and_the_mend(
    holdfast_home: Path, run_holdfast: Callable[..., object]
) -> None:
    _strangers(holdfast_home / "state")
    done = run_holdfast("doctor", check=False)
    assert done.returncode == 5
    assert f"{holdfast_home}/state is not to be trusted" in done.stdout
    assert "mend:" in done.stdout
