"""A host without FUSE, or a person without rights: a coded error, and nothing is made."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def run_without(what: str, home: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """`volume create` in a mount namespace without /dev/fuse, or as nobody."""
    holdfast = Path(sys.executable).with_name("holdfast")
    create = [str(holdfast), "volume", "create", "shop", "--size", "64M"]
    create += ["--mount", str(folder / "mnt"), f"--leg=file:{folder}/leg.img"]
    if what == "fuse":
        script = 'mount --bind /dev/null /dev/fuse && exec "$@"'
        command = ["unshare", "--mount", "sh", "-c", script, "sh", *create]
    else:
        command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *create]
    environment = {**os.environ, "HOLDFAST_HOME": str(home)}
    return subprocess.run(
        command, check=False, capture_output=True, text=True, env=environment, timeout=60
    )


@pytest.mark.parametrize(("what", "code"), [("fuse", "FUSE"), ("rights", "RIGHTS")])
def test_a_host_that_cannot(holdfast_home: Path, ram_directory: Path, what: str, code: str) -> None:
    result = run_without(what, holdfast_home, ram_directory)
    assert result.returncode == 5, result.stderr
    assert f"error[{code}]" in result.stderr
    assert "mend:" in result.stderr
    assert list(ram_directory.iterdir()) == []
    assert list((holdfast_home / "state").glob("gates/*")) == []
