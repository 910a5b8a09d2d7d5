"""Programs of 32 bits (i386) move as all others do; agents work in them with code of 64 bits."""

from __future__ import annotations

import ctypes
import signal
import subprocess
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from holdfast.applications.rebind.rebind import Rebind
from holdfast.errors import Blocked
from holdfast.model.handle import HandleOutcome
from tests.kernel.rebind.bench import Bench, Program
from tests.kernel.rebind.conftest import SOURCES, Hold
from tests.kernel.rebind.failures.test_dies_at_each_call import is_finished, moved_by_one_that_dies
from tests.waiting import wait_until

OPTIONS = (
    *("-m32", "-O2", "-Wall", "-ffreestanding", "-fno-stack-protector"),
    *("-fno-pic", "-no-pie", "-static", "-nostdlib"),
)

LIBC = ctypes.CDLL(None)
SYS_TGKILL = 234  # asm/unistd_64.h


@pytest.fixture(scope="session")
def small(program_folder: Path) -> Path:
    """small.c, compiled; it needs no library."""
    program = program_folder / "small"
    compiling = ["gcc", *OPTIONS, "-o", program, SOURCES / "small.c"]
    if subprocess.run(compiling, check=False).returncode:
        pytest.skip("this compiler makes no 32-bit programs")
    try:
        subprocess.run([program], check=False, stdin=subprocess.DEVNULL, capture_output=True)
    except OSError as error:
        pytest.skip(f"this kernel runs no 32-bit programs: {error.strerror}")
    return program


@pytest.fixture(scope="session")
def both(program_folder: Path, small: Path) -> Path:
    """both.c, compiled; where programs of 32 bits run."""
    program = program_folder / "both"
    options = ["-O2", "-Wall", "-pthread", "-static", "-no-pie"]
    subprocess.run(["gcc", *options, "-o", program, SOURCES / "both.c"], check=True)
    return program


def test_moves(bench: Bench, start: Hold, small: Path) -> None:
    program = start(small, bench.path)
    program.verify()
    for filesystem in ("xfs", "btrfs", "ext4"):
        lines = bench.move(filesystem)
        assert {line.outcome for line in lines} == {HandleOutcome.IDENTICAL}
        program.verify()


def test_its_program_lies_there(bench: Bench, start: Hold, small: Path) -> None:
    copy = bench.path / "small"
    copy.write_bytes(small.read_bytes())
    copy.chmod(0o755)
    program = start(copy, bench.path)
    for filesystem in ("xfs", "ext4"):
        lines = bench.move(filesystem)
        assert {line.outcome for line in lines} == {HandleOutcome.IDENTICAL}
        assert Path(f"/proc/{program.pid}/exe").readlink() == copy
        program.verify()


def test_agents_die(
    bench: Bench, start: Hold, small: Path, soak_rounds: Callable[[int, int], int]
) -> None:
    program = start(small, bench.path, "interrupted")
    for place in count(0, soak_rounds(9, 1)):
        if is_finished(bench, program, moved_by_one_that_dies(bench, place)):
            print(f"32 bits: agents have died up to call {place}")
            assert place > 30
            return


def tell(program: Program) -> int:
    """Send a signal to each of its threads; how many these are."""
    threads = [int(each.name) for each in Path(f"/proc/{program.pid}/task").iterdir()]
    for thread in threads:
        assert LIBC.syscall(SYS_TGKILL, program.pid, thread, signal.SIGUSR1) == 0
    return len(threads)


def all_have_come(program: Program, sent: int) -> None:
    wait_until(lambda: int(program.ask("signals")) == sent, "signals are lost")


def test_signals_come_while_threads_leave_by_themselves(
    bench: Bench, start: Hold, small: Path, soak_rounds: Callable[[int, int], int]
) -> None:
    """Handlers of 32 bits run above code of 64 bits, and lead back there."""
    program = start(small, bench.path, "interrupted")
    sent = 0
    for _ in range(soak_rounds(2, 20)):
        bench.die_parked(60)
        sent += tell(program)
        rebind = Rebind.regain(bench.record)
        assert rebind is not None
        bench.move_here(rebind, same_inodes=True)
        program.verify()
        all_have_come(program, sent)


def test_past_the_deadline(bench: Bench, start: Hold, small: Path) -> None:
    """Its threads leave the harbour by themselves, with signals that came meanwhile."""
    program = start(small, bench.path, "interrupted")
    bench.die_parked(5)
    sent = tell(program)
    all_have_come(program, sent)
    rebind = Rebind.regain(bench.record)
    assert rebind is not None
    bench.move_here(rebind, same_inodes=True)
    program.verify()


def test_a_filter_may_end_it_for_calls_of_64_bits(bench: Bench, start: Hold, small: Path) -> None:
    program = start(small, bench.path, "filter")
    with pytest.raises(Blocked, match="32-bit process with a seccomp filter"):
        bench.rebind().stop()
    program.verify()


def test_a_thread_that_runs_code_of_32_bits_in_between(
    bench: Bench, start: Hold, both: Path, soak_rounds: Callable[[int, int], int]
) -> None:
    program = start(both, bench.path)
    assert {line.outcome for line in bench.move("xfs")} == {HandleOutcome.IDENTICAL}
    program.verify()
    for place in count(0, soak_rounds(6, 1)):
        if is_finished(bench, program, moved_by_one_that_dies(bench, place)):
            return
