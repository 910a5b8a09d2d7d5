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
    if not copy.is_complete:
        made = f"the clone {copy.clone} is being made, or" if copy.clone else "it is being made, or"
        return "incomplete", f"{made} holdfast recover removes it"
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
    for stretch in reversed(history.stretches):
        if stretch.position > copy.position:
            continue
        last = stretch is history.stretches[-1]
        if stretch.end is not None and copy.position <= stretch.end < (copy.good_from or 0):
            return "unreachable", "the history ends before it became whole"
        if last or stretch.end is None or copy.position <= stretch.end:
            return "usable", "" if last else "up to the gap after it"
        return "unreachable", "it lies in a gap of the history"
    return "unreachable", "the history does not reach back to it"
