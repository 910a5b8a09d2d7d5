"""A process that answers questions, one after the other: `python -m holdfast.api.looking SOCKET`.

Begun by `lookers` only. It has one thread, so its expendable children can be forked; where storage
hangs beyond every limit it is killed, and changes nothing. It ends when whoever asks has ended.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import sys
from typing import Any

from holdfast.api.questions import QUESTIONS
from holdfast.config import Settings
from holdfast.errors import HoldfastError
from holdfast.jobs.ends import Died, End, Finished, end_as_json, failed
from holdfast.model.bounded import MOST_BYTES, read_object
from holdfast.service.holdfast import Holdfast
from holdfast.service.session import LOG_FILE
from holdfast.system.messages import logs
from holdfast.system.processes.beginning import begin_cleanly

_log = logging.getLogger(__name__)


def main() -> None:
    """Answer until nobody asks any more."""
    begin_cleanly()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for whoever asks
    settings = Settings()
    logs.set_up("api", write=logs.into_file(settings.state_directory / LOG_FILE))
    line = socket.socket(fileno=int(sys.argv[1]))
    line.set_inheritable(False)
    with line.makefile("rb") as asked:
        for text in asked:
            answered = json.dumps(end_as_json(_end_of(settings, text)), allow_nan=False)
            if len(answered) >= MOST_BYTES:
                answered = json.dumps(end_as_json(Died(words="the answer is too long")))
            line.sendall(answered.encode() + b"\n")


def _end_of(settings: Settings, text: bytes) -> End:
    try:
        with Holdfast(settings) as holdfast:
            return Finished(_answer(holdfast, read_object(text)))
    except HoldfastError as error:
        return failed(error)
    except Exception as error:
        _log.exception("a mistake in Holdfast itself")
        return Died(words=f"a mistake in Holdfast itself: {type(error).__name__}: {error}")


def _answer(holdfast: Holdfast, asked: dict[str, Any]) -> Any:
    return QUESTIONS[asked["question"]](holdfast, **asked["about"])


if __name__ == "__main__":
    try:
        main()
    except (BrokenPipeError, ConnectionResetError):
        os._exit(0)  # nobody asks any more
