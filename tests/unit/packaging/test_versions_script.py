"""packaging/deb/versions: what the Debian package's scripts do with versions of the code."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "packaging" / "deb" / "versions"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only processes of root count")


def run(root: Path, verb: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", SCRIPT, verb, root],
        capture_output=True,
        text=True,
        check=False,
    )


def unpack(root: Path, name: str) -> None:
    """As dpkg does it: each file is replaced by another one."""
    package = root / "package"
    for relative, text in [("ID", name), ("lib/code.py", f"version = {name!r}\n")]:
        path = package / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(path.name + ".dpkg-new")
        new.write_text(text)
        new.rename(path)
    python = package / "bin" / "python"
    python.parent.mkdir(exist_ok=True)
    python.unlink(missing_ok=True)
    python.symlink_to("/bin/sleep")


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "holdfast"
    place.mkdir()
    unpack(place, "1")
    assert run(place, "install").returncode == 0
    yield place


@pytest.fixture(scope="module")
def waits(program_folder: Path) -> Path:
    """A program that looks at no argument and waits."""
    path = program_folder / "waits"
    source = "#include <unistd.h>\nint main(void) { return pause(); }\n"
    subprocess.run(["gcc", "-x", "c", "-o", path, "-"], input=source.encode(), check=True)
    path.chmod(0o755)
    return path


@contextmanager
def process(root: Path, waits: Path, *arguments: str, user: int = 0) -> Iterator[None]:
    """A process that calls itself the interpreter of the installed version."""
    program = str((root / "current").resolve() / "bin" / "python")
    waiting = subprocess.Popen([program, *arguments], executable=waits, user=user)
    try:
        yield
    finally:
        waiting.kill()
        waiting.wait()


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def code(root: Path, version: str) -> str:
    return (root / "versions" / version / "lib" / "code.py").read_text()


def test_what_runs_keeps_its_code_whatever_dpkg_does(root: Path) -> None:
    assert str((root / "current").readlink()) == "versions/1"
    assert (root / "versions/1/lib/code.py").samefile(root / "package/lib/code.py")
    unpack(root, "2")
    assert code(root, "1") == "version = '1'\n"
    assert str((root / "current").readlink()) == "versions/1"
    assert run(root, "install").returncode == 0
    assert str((root / "current").readlink()) == "versions/2"
    assert (code(root, "1"), code(root, "2")) == ("version = '1'\n", "version = '2'\n")
    shutil.rmtree(root / "package")
    assert code(root, "2") == "version = '2'\n"


def test_installing_twice_mends_what_was_damaged(root: Path) -> None:
    path = root / "versions/1/lib/code.py"
    path.unlink()
    path.write_text("nonsense")
    (root / "versions/1/bin/python").unlink()
    (root / "current").unlink()
    unpack(root, "1")
    assert run(root, "install").returncode == 0
    assert code(root, "1") == "version = '1'\n"
    assert str((root / "versions/1/bin/python").readlink()) == "/bin/sleep"
    assert str((root / "current").readlink()) == "versions/1"


def test_what_was_left_half_made_is_made_anew(root: Path) -> None:
    """Killed in the middle: a half version, and a link that led nowhere yet."""
    unpack(root, "2")
    (root / "versions/.new/lib").mkdir(parents=True)
    (root / "versions/.new/lib/other.py").touch()
    (root / ".current").symlink_to("versions/nowhere")
    (root / "versions/1/lib/.code.py.new").touch()
    assert run(root, "install").returncode == 0
    assert sorted(each.name for each in (root / "versions/2/lib").iterdir()) == ["code.py"]
    assert names(root) == ["current", "package", "versions"]
    assert run(root, "clean").returncode == 0
    assert names(root / "versions") == ["2"]


def test_versions_stay_while_something_runs_from_them(root: Path, waits: Path) -> None:
    with process(root, waits):
        unpack(root, "2")
        run(root, "install")
        assert run(root, "clean").returncode == 0
        assert names(root / "versions") == ["1", "2"]
    assert run(root, "clean").returncode == 0
    assert names(root / "versions") == ["2"]


def test_processes_of_others_keep_nothing(root: Path, waits: Path) -> None:
    """Anybody can call himself whatever he likes."""
    with process(root, waits, user=1234):
        unpack(root, "2")
        run(root, "install")
        run(root, "clean")
        assert names(root / "versions") == ["2"]
        assert run(root, "forbid").returncode == 0


def test_removal_is_refused_with_what_is_in_the_way(root: Path, waits: Path) -> None:
    arguments = [
        ("-m", "holdfast.gate", "start", "/var/lib/holdfast/gates/shop", "/run/x", "9"),
        ("-m", "holdfast.gate", "start", "/var/lib/holdfast/gates/shop", "/run/x", "9"),
        ("-m", "holdfast.gate", "resume", "/root/try/state/gates/\x1b[2Jbank", "/x", "8"),
        ("-P", "-m", "holdfast.jobs", "7"),
    ]
    with ExitStack() as stack:
        for each in arguments:
            stack.enter_context(process(root, waits, *each))
        refused = run(root, "forbid")
    assert refused.returncode == 1
    assert refused.stderr.count("the volume shop is attached") == 1
    assert "mend: holdfast volume detach shop\n" in refused.stderr
    assert "HOLDFAST_HOME=/root/try holdfast volume detach \\x1b[2Jbank\n" in refused.stderr
    assert "\x1b" not in refused.stderr
    assert "holdfast.jobs" in refused.stderr
    assert str((root / "current").readlink()) == "versions/1"
    assert run(root, "forbid").returncode == 0
    assert not os.path.lexists(root / "current")
    assert run(root, "install").returncode == 0  # the removal was given up
    assert str((root / "current").readlink()) == "versions/1"


def test_nothing_is_open_to_others(root: Path) -> None:
    places = [root / "versions", *(root / "versions").rglob("*")]
    modes = {path: path.lstat() for path in places if not path.is_symlink()}
    assert not [path for path, status in modes.items() if status.st_mode & 0o022]
    assert {status.st_uid for status in modes.values()} == {0}


@pytest.mark.parametrize("verb", ["", "removed", "--help"])
def test_other_verbs_do_nothing(root: Path, verb: str) -> None:
    assert run(root, verb).returncode == 2
    assert str((root / "current").readlink()) == "versions/1"


def test_a_setuid_program_that_somebody_else_started_keeps_nothing(
    root: Path, waits: Path, tmp_path: Path
) -> None:
    """Its arguments are theirs: another gate's, which nobody could move."""
    setuid = waits.with_name("waits-setuid")
    shutil.copy(waits, setuid)
    setuid.chmod(0o4755)
    gate = ("-m", "holdfast.gate", "keeper", str(tmp_path / "theirs/state/gates/shop"))
    with process(root, setuid, *gate, user=1234):
        assert run(root, "forbid").returncode == 0
        unpack(root, "2")
        run(root, "install")
        moved = run(root, "renew")
        assert (moved.returncode, moved.stderr) == (0, "")
        assert run(root, "clean").returncode == 0
        assert names(root / "versions") == ["2"]
