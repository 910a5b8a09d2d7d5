"""What copies are good for now, as their images and the history show. Changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from holdfast.containers import open_container
from holdfast.errors import HoldfastError
from holdfast.model.copy import CopyReport, VolumeCopy
from holdfast.model.history import HistoryReport
from holdfast.service.histories import Histories
from holdfast.system.children.expendable import in_expendable_child

_LOOKING_SECONDS = 3.0


def states_of(copies: Sequence[VolumeCopy], histories: Histories) -> list[CopyReport]:
    """One report for each. What does not answer is said so."""
    reports = {name: _history(histories, name) for name in {each.volume for each in copies}}
    return [CopyReport(each, *_state(each, reports[each.volume])) for each in copies]


def _history(histories: Histories, name: str) -> HistoryReport | str:
    try:
        return histories.show(name)
    except HoldfastError as error:
        return error.message


def _state(copy: VolumeCopy, history: HistoryReport | str) -> tuple[str, str]:
    if not copy.is_complete:
        made = f"the clone {copy.clone} is being made, or" if copy.clone else "it is being made, or"
        return "incomplete", f"{made} holdfast recover removes it"
    try:
        inode = in_expendable_child(partial(_inode, copy.url), _LOOKING_SECONDS, copy.url)
    except (HoldfastError, OSError) as error:
        return "unknown", str(error)
    if inode != copy.inode:
        return "gone", "another file is there" if inode else "its image is not there"
    if isinstance(history, str):
        return "unknown", history
    if history.state == "off":
        return "unreachable", "no history of the volume is kept"
    if not history.is_read:
        return "unknown", history.reason
    for stretch in reversed(history.stretches):
        if stretch.position > copy.position:
            continue
        last = stretch is history.stretches[-1]
        if last or stretch.end is None or copy.position <= stretch.end:
            return "usable", "" if last else "up to the gap after it"
        return "unreachable", "it lies in a gap of the history"
    return "unreachable", "the history does not reach back to it"


def _inode(url: str) -> int:
    try:
        return Path(open_container(url).image_path).lstat().st_ino
    except FileNotFoundError:
        return 0
