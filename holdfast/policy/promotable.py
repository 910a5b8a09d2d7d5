"""Whether a gated volume that lost every leg could go on from a copy, as far as the gate's word and
the records tell. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.model.copy import VolumeCopy
from holdfast.model.volume import VolumeReport
from holdfast.policy.readiness import stretches_of
from holdfast.policy.unattended import SourceSeen


def source_seen(report: VolumeReport, copies: Sequence[VolumeCopy], source: str) -> SourceSeen:
    """What is in the way of taking a copy. `source`: URL of the one that is to be taken; empty: any
    that is there."""
    name = report.name
    journal = report.gate.journal if report.gate is not None else {}
    if journal.get("mode") != "continuous":
        words = "no history leads from a copy to the last write"
        mend = f"holdfast history {name} --at DIRECTORY, then holdfast copy add {name} URL"
        return SourceSeen(trouble=words if journal else "its gate does not answer", mend=mend)
    mine = [
        each
        for each in copies
        if each.volume_id == report.id
        and (each.is_complete or each.becomes_leg)
        and source in ("", each.url)
    ]
    if not mine:
        words = "it is not there, or not as it was left" if source else "it has no copy"
        return SourceSeen(trouble=words, mend=f"holdfast copy add {name} URL")
    stretches = stretches_of(journal)
    if stretches and all(
        each.position < stretches[-1].position or each.out_of_reach(stretches) for each in mine
    ):
        words = "its history has a gap after its newest copy, or does not reach back to it"
        return SourceSeen(trouble=words, mend=f"holdfast copy add {name} URL")
    return SourceSeen()
