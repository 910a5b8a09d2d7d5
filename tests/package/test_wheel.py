"""The wheel, in an environment of its own, as pipx makes one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from holdfast.model.version import VERSION
from tests.package.conftest import ROOT


def test_installed_in_a_fresh_environment(tmp_path: Path) -> None:
    source = tmp_path / "source"  # a build leaves files beside its source
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", ROOT, source], check=True)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", tmp_path, source], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert "-cp311-abi3-" in wheel.name
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "environment"], check=True)
    programs = tmp_path / "environment" / "bin"
    subprocess.run([programs / "python", "-m", "pip", "--quiet", "install", wheel], check=True)
    home = {"HOLDFAST_HOME": str(tmp_path / "home"), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}

    def run(*arguments: str) -> str:
        command = [programs / "holdfast", *arguments]
        ended = subprocess.run(
            command, check=False, env=home, capture_output=True, text=True, cwd="/"
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    assert run("--version") == f"holdfast {VERSION}\n"
    assert "fast path: compiled code serves ordinary requests" in run("doctor")
    assert run("completion", "bash").startswith("# Completion of holdfast")
