"""How a job can end: values that know their JSON, and which error they are to whoever waits."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from holdfast.error_codes import by_code
from holdfast.errors import HoldfastError, JobDied, JobInterrupted
from holdfast.late_dataclass import dataclass
from holdfast.model.event import OneOf


@dataclass(frozen=True)
class Finished:
    """It is done, and durable."""

    result: Any
    """A model value, or several; what it is, the request says."""


@dataclass(frozen=True)
class Failed:
    """It raised a HoldfastError: refused, or undone, as the error says."""

    code: str
    exit_status: int
    """Of a command that ends so."""
    message: str
    mend: str


@dataclass(frozen=True)
class Interrupted:
    """It was told to end by a signal, and what was half done was undone first, or finished."""

    signal: int


@dataclass(frozen=True)
class Died:
    """Its process ended in the middle of something: killed, or by a mistake of ours."""

    signal: int = 0
    """That killed it; 0: it was not killed."""
    words: str = ""
    """What it said last."""


End = Finished | Failed | Interrupted | Died

_ENDS = OneOf[End](
    "end", {"finished": Finished, "failed": Failed, "interrupted": Interrupted, "died": Died}
)


def failed(error: HoldfastError) -> Failed:
    """The end of a job that raised this."""
    return Failed(error.code, error.exit_status, error.message, error.mend)


def end_as_json(end: End) -> dict[str, Any]:
    """Plain values, which `read_end` reads."""
    return _ENDS.as_json(end)


def read_end(values: dict[str, Any], result_of: Callable[[Any], Any]) -> End:
    """The end that `end_as_json` described. Raises ValueError.

    `result_of` makes a result of its JSON.
    """
    end = _ENDS.read(values)
    return Finished(result_of(end.result)) if isinstance(end, Finished) else end


def error_of(end: Failed | Interrupted | Died, what: str) -> HoldfastError:
    """What whoever waits for the result is told; `what`: the operation that ended so."""
    if isinstance(end, Failed):
        return (by_code(end.code) or HoldfastError)(end.message, end.mend)
    if isinstance(end, Interrupted):
        return JobInterrupted(
            f"the job ({what}) was ended by {_signal_name(end.signal)}",
            "What was half done is undone, or finished: holdfast status.",
        )
    how = f"was killed by {_signal_name(end.signal)}" if end.signal else "ended without a result"
    words = f": {end.words}" if end.words else ""
    return JobDied(
        f"the process of the job ({what}) {how}{words}",
        "holdfast recover finishes or undoes what it had begun; so does the next command on the"
        " volume.",
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
