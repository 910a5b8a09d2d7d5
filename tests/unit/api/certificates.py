"""Certificates of a test, made by openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple


class Made(NamedTuple):
    """PEM files: signed by the host itself, so it is its own authority."""

    certificate: Path
    key: Path


def make(folder: Path, name: str = "host") -> Made:
    """A certificate for 127.0.0.1, for a day."""
    made = Made(folder / f"{name}.crt", folder / f"{name}.key")
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1"
    about = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(made.key), "-out", str(made.certificate)]
    subprocess.run(["openssl", *words.split(), *about, *files], check=True, capture_output=True)
    made.certificate.chmod(0o644)
    made.key.chmod(0o600)
    return made
