"""What becomes of the history of a volume that gets another gate, or none."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.config import Settings
from holdfast.errors import HoldfastError
from holdfast.gate.members.configuration import load_configuration
from holdfast.model.finding import Finding, Verdict
from holdfast.restoration.assessing.facts import Facts


def about_history(settings: Settings, facts: Facts) -> Sequence[Finding]:
    """Tell that it ends, and how it is begun again."""
    volume = facts.request.volume
    if volume.is_adopted or facts.new is None:
        return ()
    if facts.keeps_bytes and not facts.request.contents and not facts.is_broken:
        return ()  # the gate fills the new container, and stays
    try:
        history = load_configuration(settings.gate_state_directory(volume.name)).history
    except HoldfastError:
        return ()  # others say what is wrong with it
    if history is None:
        return ()
    kept = f"every write is kept in {history.directory}"
    name, anew = volume.name, facts.request.source.history
    if anew:
        meaning = f"That ends with the gate that the volume has now, and is begun anew in {anew}."
        mend = f"holdfast copy add {name} URL afterwards: moments from then on can be reached."
        return [Finding("history", Verdict.LIMITED, kept, meaning, mend)]
    mend = f"holdfast history {name} --at DIRECTORY begins it again, in an empty one."
    return [
        Finding(
            "history",
            Verdict.LIMITED,
            kept,
            "That ends with the gate that the volume has now.",
            "" if facts.new.volume.is_adopted else mend,
        )
    ]
