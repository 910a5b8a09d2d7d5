"""The process of a job: `python -m holdfast.jobs SOCKET`. Begun by `job.Job` only."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import traceback
from pathlib import Path

from holdfast.config import Settings
from holdfast.errors import HoldfastError, InvalidOption
from holdfast.jobs.ends import Died, End, Finished, Interrupted, failed
from holdfast.jobs.speaking import Speaking
from holdfast.model.reporter import reporter_to
from holdfast.service.operations import perform, read_request
from holdfast.service.session import opened
from holdfast.system.processes.beginning import begin_cleanly
from holdfast.system.processes.ending import ENDING, ending_in_order, hear_endings

_log = logging.getLogger(__name__)


def main() -> None:
    """Carry out what is asked for; say how it went."""
    begin_cleanly()
    for number in (signal.SIGINT, signal.SIGTERM):  # whoever began us may ignore them
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    speaking = Speaking(socket.socket(fileno=int(sys.argv[1])))
    with ending_in_order() as signals:
        end = _end_of(speaking, signals)
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # from here on it is too late for them
    speaking.end(end)
    os._exit(0)  # nothing is left to be done in order


def _end_of(speaking: Speaking, signals: list[int]) -> End:
    try:
        return Finished(_result_of(speaking))
    except HoldfastError as error:
        return failed(error)
    except KeyboardInterrupt:
        return Interrupted(signals[0] if signals else signal.SIGINT)
    except Exception as error:
        if os.environ.get("HOLDFAST_DEBUG") == "1":
            traceback.print_exception(error)
        _log.exception("a mistake in Holdfast itself")
        return Died(words=f"a mistake in Holdfast itself: {type(error).__name__}: {error}")


def _result_of(speaking: Speaking) -> object:
    try:
        values = speaking.hear()
        request = read_request(values)
        home = values["settings"]["home"]
        settings = Settings(None if home is None else Path(home))
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidOption(
            f"what the job is to do cannot be read: {error}",
            "Begin it with the version of Holdfast that is installed.",
        ) from error
    with opened(settings, "job") as holdfast:
        hear_endings()
        return perform(holdfast, request, reporter_to(speaking.tell))


if __name__ == "__main__":
    main()
