"""The root of a process that has put the right to change it aside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.applications.rebind.scan import blockers, judge
from holdfast.errors import Refused
from holdfast.model.handle import HandleKind, HandleOutcome
from tests.kernel.rebind.bench import Bench, Program
from tests.kernel.rebind.conftest import Hold
from tests.kernel.rebind.obedient import FILESYSTEMS, obedient, outcomes

__all__ = ["obedient"]

ASIDE = "os.chroot(folder); os.chdir('/d'); os.setresuid(65534, 65534, 0)"


def rights(program: Program) -> list[str]:
    """What its threads may do."""
    tasks = Path(f"/proc/{program.pid}/task").iterdir()
    texts = [(task / "status").read_text() for task in tasks]
    return [line for text in texts for line in text.split("\n") if line.startswith("Cap")]


@pytest.fixture
def aside(bench: Bench, obedient: Callable[..., Program]) -> Program:
    """It stands in a directory of its root."""
    program = obedient()
    (bench.path / "d").mkdir()
    (bench.path / "d").chmod(0o777)
    program.ask("import resource")
    program.ask(ASIDE)
    assert program.ask("os.geteuid(), os.getcwd()") == "(65534, '/d')"
    return program


def test_it_has_no_more_rights_than_before(bench: Bench, aside: Program) -> None:
    before = rights(aside)
    assert any(line.startswith("CapEff:") and not int(line[7:], 16) for line in before)
    for filesystem in FILESYSTEMS:
        assert outcomes(bench, filesystem) == {HandleOutcome.IDENTICAL}
        assert rights(aside) == before
        assert aside.ask("os.chroot('.')") == "Operation not permitted"
        assert aside.ask("os.getcwd(), sorted(os.listdir('/'))[0]") == "('/d', 'd')"
        inode = (bench.path / "d").stat().st_ino
        assert aside.ask("os.stat('.').st_ino, os.stat('/d').st_ino") == f"({inode}, {inode})"


def test_its_user_may_have_no_thread_more(bench: Bench, aside: Program) -> None:
    """Found when everybody stands, before anything is changed."""
    aside.ask("resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))")
    before = rights(aside)
    rebind = bench.rebind()
    rebind.stop()
    with pytest.raises(Refused, match="cannot be moved: clone") as refused:
        rebind.park()
    assert "--nproc" in refused.value.mend
    assert rights(aside) == before
    assert aside.ask("os.getcwd(), sorted(os.listdir('/'))[0]") == "('/d', 'd')"
    assert not bench.record.exists()


def test_with_a_filter_it_blocks(bench: Bench, hold: Hold) -> None:
    """The filter would be the new thread's, too."""
    program = hold("aside_root", "seccomp")
    (found,) = blockers(judge(bench.users()))
    assert found.handle.kind is HandleKind.ROOT
    assert found.handle.pid == program.pid
    assert "right to change that" in found.reason
