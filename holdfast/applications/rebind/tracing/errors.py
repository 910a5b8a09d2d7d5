"""How the end of a stopped process, or its refusal to do what it is asked, is reported."""

from __future__ import annotations

import errno


def gone(pid: int) -> ProcessLookupError:
    """What is raised when a process has ended."""
    return ProcessLookupError(errno.ESRCH, f"process {pid} has ended")


class Uncooperative(ProcessLookupError):
    """A process lives and does not do what is asked of it: for us it is as good as gone.

    Whoever may write to its memory can bring that about. Nobody else may suffer for it.
    """
