"""Which interpreter, and with it which code, a new program of ours is to be.

An installation by package keeps each version in a folder of its own, so that what runs has the code
that it began with, whatever is installed meanwhile (packaging/deb/versions). What is started anew,
and may be of another version than whoever starts it, is of the one that `current` leads to.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

FOLDER, CURRENT = "versions", "current"
"""ROOT/versions/ID/bin/python is the interpreter of a version, ROOT/current leads to a version."""


def installed_python(own: str = sys.executable) -> str:
    """The interpreter of the version that is installed now; `own`, where versions have no folders.

    What is given is no path through `current`: that would become another version's some day.
    """
    version = Path(own).parent.parent
    if version.parent.name != FOLDER:
        return own
    root = version.parent.parent
    try:
        there = (root / CURRENT).readlink()
    except OSError:
        return own
    python = root / FOLDER / there.name / Path(own).relative_to(version)
    return str(python) if os.access(python, os.X_OK) else own
