"""The command line: a thin layer over `holdfast.service`. `commands/` has one file per family.

Owns what is typed and what is printed. Invariant: plain values go to standard output, everything
else to standard error; in a pipe there is no colour, no progress and no question. Must never
decide anything about storage, and must start fast: what is heavy is imported inside commands.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; never raises."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given == ["completion", "names"]:  # what a shell asks at a key
        from holdfast.cli.names import print_names

        return print_names()
    gc.disable()
    from holdfast.cli.application import run

    gc.freeze()  # what is loaded stays: neither we nor a child look through it for garbage
    gc.enable()
    return run(given)
