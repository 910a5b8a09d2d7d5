"""What copies are good for now, as their images and the history show. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from holdfast.copies import images
from holdfast.errors import HoldfastError
from holdfast.model.copy import CopyReport, VolumeCopy
from holdfast.model.history import HistoryReport
from holdfast.service.histories import Histories
from holdfast.system.children.expendable import in_expendable_child

_LOOKING_SECONDS = 3.0


def states_of(
    copies: Sequence[VolumeCopy], histories: Histories, id_of: Callable[[str], str]
) -> list[CopyReport]:
    """One report for each. What does not answer is said so. `id_of`: of the volume of that name."""
    known = {each.volume: _history(histories, each.volume, id_of) for each in copies}
    return [CopyReport(each, *_state(each, *known[each.volume])) for each in copies]


def _history(
    histories: Histories, name: str, id_of: Callable[[str], str]
) -> tuple[HistoryReport | str, str]:
    try:
        return histories.show(name), id_of(name)
    except HoldfastError as error:
        return error.message, ""


def _state(copy: VolumeCopy, history: HistoryReport | str, volume_id: str) -> tuple[str, str]:
    if copy.into:
        reason = f"{copy.half}, until {copy.into} has everything: holdfast volume show {copy.clone}"
        return "filling", reason
    if not copy.is_complete:
        return "incomplete", f"{copy.half}: its command is at work, or holdfast recover removes it"
    try:
        fault = in_expendable_child(partial(images.fault_of, copy), _LOOKING_SECONDS, copy.url)
    except (HoldfastError, OSError) as error:
        return "unknown", str(error)
    if fault:
        return "gone" if fault in (images.GONE, images.EXCHANGED) else "changed", fault
    if isinstance(history, str):
        return "unknown", history
    if copy.volume_id != volume_id:
        return "unreachable", "it is a copy of an earlier volume of that name"
    if history.state == "off":
        return "unreachable", "no history of the volume is kept"
    if not history.is_read:
        return "unknown", history.reason
    if reason := copy.out_of_reach(history.stretches):
        return "unreachable", reason
    is_last = history.stretches[-1].position <= copy.position
    return "usable", "" if is_last else "up to the gap after it"


def is_there(copy: VolumeCopy) -> bool:
    """Whether its image is as it was left. What does not answer is not."""
    try:
        return not in_expendable_child(partial(images.fault_of, copy), doing=copy.url)
    except (HoldfastError, OSError):
        return False
