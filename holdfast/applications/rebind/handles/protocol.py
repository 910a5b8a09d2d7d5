"""What every kind of handle must know: whether it can be moved, how to park and rebind it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from holdfast.applications.rebind.agent.steps import Steps
from holdfast.applications.rebind.handles.process_traits import ProcessTraits
from holdfast.applications.rebind.opening.outcomes import ReboundHandle
from holdfast.applications.rebind.opening.requests import OpenedFiles, OpenRequest
from holdfast.applications.rebind.parking.notes import HandleNote
from holdfast.applications.rebind.parking.placeholders import Placeholders
from holdfast.applications.rebind.parking.stopped_process import StoppedProcess
from holdfast.model.handle import Handle, JudgedHandle


class HandleDriver(Protocol):
    """One kind of handle. Drivers have no state: what they need later is in the notes.

    `park` and `rebind` may be run again from the beginning after our death at any instant: the
    process has executed nothing of its own in between. They may be work in steps (see agent.steps).
    """

    def judge(self, handle: Handle, facts: ProcessTraits) -> JudgedHandle:
        """What a rebind would do with it; reads nothing, changes nothing."""
        ...

    def examine(
        self, process: StoppedProcess, handles: Sequence[Handle], directory: Path
    ) -> list[dict[str, Any]]:
        """Details of each handle for its note (plain values); `directory` takes larger things.

        The process is stopped and unchanged. Raises OSError.
        """
        ...

    def park(
        self, process: StoppedProcess, notes: Sequence[HandleNote], placeholders: Placeholders
    ) -> Steps[None] | None:
        """Let these handles point to nothing on the old mount. Raises OSError."""
        ...

    def requests(self, note: HandleNote) -> list[OpenRequest]:
        """What must be opened on the new mount for it."""
        ...

    def rebind(
        self,
        process: StoppedProcess,
        notes: Sequence[HandleNote],
        openings: OpenedFiles,
        directory: Path,
    ) -> list[ReboundHandle] | Steps[list[ReboundHandle]]:
        """Let these handles point to what was opened; what became of each. Raises OSError."""
        ...

    def is_parked(self, process: StoppedProcess, note: HandleNote) -> bool:
        """Whether this handle of a stopped process is a placeholder still.

        False for whatever else it may be by now. Raises OSError when it has been closed.
        """
        ...
