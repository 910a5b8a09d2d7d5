"""landlock(7): whether this kernel has it."""

from __future__ import annotations

import ctypes

from holdfast.system.raw_call import raw_call

_CREATE_RULESET = 444  # <asm-generic/unistd.h>
_CREATE_RULESET_VERSION = ctypes.c_uint(1)  # <linux/landlock.h>


def has_landlock() -> bool:
    """Whether processes can confine themselves with Landlock on this host. Changes nothing."""
    try:
        return raw_call(_CREATE_RULESET, None, ctypes.c_size_t(0), _CREATE_RULESET_VERSION) > 0
    except OSError:
        return False
