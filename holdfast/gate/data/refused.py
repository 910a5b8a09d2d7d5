"""What a leg has said to compiled code, as its device would raise it."""

from __future__ import annotations

import errno
import os

from holdfast.containers.device import TRUNCATED
from holdfast.gate.data.compiled import COMPILED


def error_of(code: int) -> OSError:
    """`code`: a number of errno, or TRUNCATED of compiled code."""
    assert COMPILED is not None
    if code == COMPILED.TRUNCATED:
        return OSError(errno.EIO, TRUNCATED)
    return OSError(code, os.strerror(code))
