"""Doctor says what can be moved and frozen here, and what keeps it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from holdfast.applications.rebind.handles.process_traits import gather
from holdfast.applications.rebind.scan import judge_handle
from holdfast.model.finding import Verdict
from holdfast.model.handle import Handle, HandleKind, HandleVerdict
from holdfast.service.doctor.moving import (
    _tracing_mend,
    comparison,
    freezer,
    machine,
    tracing,
    user_namespaces,
)


def test_one_kind_of_processor() -> None:
    (here,) = machine("x86_64")
    (there,) = machine("aarch64")
    assert here.verdict is Verdict.OK
    assert there.verdict is Verdict.LIMITED
    assert "aarch64" in there.found
    assert there.mend


def test_what_doctor_says_of_arm64_is_what_a_scan_says() -> None:
    """Every handle blocks there: migrate and restore end with BLOCKED, nothing touched."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        handle = Handle(HandleKind.FILE, process.pid, "/srv/x/file")
        judged = judge_handle(handle, gather(process.pid, machine="aarch64"))
    assert judged.verdict is HandleVerdict.BLOCKS
    assert "aarch64" in judged.reason


@pytest.mark.parametrize(("text", "verdict"), [("1000", Verdict.OK), ("0", Verdict.LIMITED)])
def test_user_namespaces(tmp_path: Path, text: str, verdict: Verdict) -> None:
    (tmp_path / "limit").write_text(f"{text}\n")
    (finding,) = user_namespaces(tmp_path / "limit")
    assert finding.verdict is verdict
    (finding,) = user_namespaces(tmp_path / "none")
    assert finding.verdict is Verdict.LIMITED


def test_a_host_where_nobody_traces(tmp_path: Path) -> None:
    (tmp_path / "scope").write_text("3\n")
    assert "ptrace_scope" in _tracing_mend(tmp_path / "scope")
    (tmp_path / "scope").write_text("1\n")
    assert "ptrace_scope" not in _tracing_mend(tmp_path / "scope")


def test_trying_leaves_no_process_behind() -> None:
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    before = set(children.read_text().split())  # of other tests, which threads still bury
    findings = [*tracing(), *comparison(), *freezer()]
    assert set(children.read_text().split()) <= before
    assert {finding.subject for finding in findings} >= {"tracing", "kcmp", "freezer"}
    for finding in findings:
        assert finding.verdict is Verdict.OK or (finding.meaning and finding.mend), finding
