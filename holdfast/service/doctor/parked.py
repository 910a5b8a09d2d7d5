"""Doctor: processes that a restoration has parked, whoever remembers it.

They say so themselves, so this holds also when catalog and records are lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from holdfast.applications.rebind.agent.harboured import with_parked_handles
from holdfast.model.finding import Finding, Verdict
from holdfast.system.proc import name_of, process_ids


def parked() -> Iterator[Finding]:
    """Who waits in a harbour, or has left it and runs with errors in place of files."""
    for pid in with_parked_handles(process_ids()):
        name = "it"
        with suppress(OSError):  # it has just ended
            name = name_of(pid)
        yield Finding(
            "parked handles",
            Verdict.LIMITED,
            f"a restoration has parked what {name} (process {pid}) has open",
            "It waits until the deadline, and runs with errors in place of its files from then on.",
            "holdfast status names the volume: attach it, or holdfast recover. Where it names none,"
            " the record is lost: start that process again.",
        )
