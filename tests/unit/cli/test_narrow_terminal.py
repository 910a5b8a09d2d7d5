"""On a terminal of 80 columns no name, state, outcome or cause is cut off."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import sys
import termios
from pathlib import Path

import pytest

from holdfast.error_codes import leaves

WIDTH = 80

PROGRAM = """
from holdfast.cli.views import *
from holdfast.cli.views import status_view
from holdfast.model.trouble import troubles_of
from holdfast.cli.output import print_grid
from holdfast.model.receipt import Receipt
from holdfast.model.volume import *
legs = (
    LegReport(1, "a" * 36, "file:/var/tmp/some/where/deep/c-a.img", LegState.IN_SYNC),
    LegReport(2, "b" * 36, "file:/var/tmp/some/where/deep/c-b.img", LegState.FAILED,
              reason="write: Input/output error"),
)
gate = GateReport(1, 2, False, "", None, 3, 4, 0, 12.5)
report = VolumeReport("nc-shop", "gated", VolumeState.DEGRADED, "/srv/nc-shop", "ext4", 64 << 20,
                      "/dev/loop0", "i", "", "", "", "unflushed", 3, legs, gate)
receipt = Receipt("abcdefgh", "nc-shop", "failover",
                  "leg 2 (file:/var/tmp/c-b.img): Input/output error", 1.0, 2.0,
                  "continued, degraded: 1 of 2 legs in sync", longest_wait_ms=12.5)
print_grid(status_view([(report, troubles_of(report))] * 2, {}))
print_receipts([receipt, receipt])
print_volumes([report])
print_volume(report)
"""


def on_a_terminal(program: str) -> str:
    """What a program shows on a terminal of 80 columns."""
    pid, terminal = pty.fork()
    if pid == 0:
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24, WIDTH, 0, 0))
        environment = {**os.environ, "TERM": "xterm", "NO_COLOR": "1"}
        environment.pop("COLUMNS", None)
        os.execve(sys.executable, [sys.executable, "-c", program], environment)
    shown = b""
    try:
        while part := os.read(terminal, 1 << 16):
            shown += part
    except OSError:  # EIO: the other side is closed
        pass
    os.close(terminal)
    assert os.waitpid(pid, 0)[1] == 0, shown.decode()
    return shown.decode().replace("\r\n", "\n")


@pytest.mark.skipif(not Path("/dev/ptmx").exists(), reason="needs terminals")
def test_what_matters_is_there_in_full() -> None:
    shown = on_a_terminal(PROGRAM)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert "…" not in plain
    status, _, rest = plain.partition("id ")
    assert status.count("degraded") == 2
    assert status.count("1/2 in sync") == 2
    assert "leg 2 (file:/var/tmp/some/where/deep/c-b.img) is failed" in " ".join(status.split())
    joined = " ".join(rest.split())
    for words in (
        "failover",
        "outcome: continued, degraded: 1 of 2 legs in sync",
        "cause: leg 2 (file:/var/tmp/c-b.img): Input/output error",
        "file:/var/tmp/some/where/deep/c-a.img",
        "/srv/nc-shop",
        "errors",
    ):
        assert words in joined, shown
    assert all(len(line) <= WIDTH for line in plain.splitlines()), shown


@pytest.mark.skipif(not Path("/dev/ptmx").exists(), reason="needs terminals")
def test_every_code_is_explained_between_its_edges() -> None:
    codes = [leaf.code for leaf in leaves()]
    program = f"""
from holdfast.cli.commands.explain import explain
for code in {codes!r}:
    explain(code)
"""
    shown = on_a_terminal(program)
    assert all(len(line) <= WIDTH for line in shown.splitlines()), shown
    joined = " ".join(shown.split())
    for leaf in leaves():
        assert " ".join((leaf.__doc__ or "").split()) in joined


@pytest.mark.skipif(not Path("/dev/ptmx").exists(), reason="needs terminals")
def test_a_path_in_a_finding_can_be_copied() -> None:
    """Paths and commands stand in one piece, as long as a line has room for them."""
    path = "/srv/tenants/first/databases/orders-2026/legs/second-leg.img"
    program = f"""
from holdfast.cli.commands.assess import print_findings
from holdfast.model.finding import Finding, Verdict
print_findings([
    Finding("file:{path}", Verdict.BLOCKS, "{path} is in use", "It would be lost.", "rm {path}"),
    Finding("pause", Verdict.OK, "1.0 s"),
])
"""
    shown = on_a_terminal(program)
    assert shown.count(path) == 3, shown
    assert "…" not in shown
