"""A gate that runs code from before a verb came: whoever asks is told how to move it."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import pytest

from holdfast.errors import InvalidOption
from holdfast.gate.outside.client import GateClient
from holdfast.gate.runtime.shared_page import SOCKET_FILE

SAYS = {"ok": False, "code": "OPTION", "message": "the gate does not know this verb", "mend": ""}
"""As every version did."""


def test_the_mend_is_to_move_it(tmp_path: Path) -> None:
    run_directory = tmp_path / "shop"
    run_directory.mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(run_directory / SOCKET_FILE))
        listening.listen()

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(json.dumps(SAYS).encode() + b"\n")

        server = threading.Thread(target=answer)
        server.start()
        with pytest.raises(InvalidOption) as refused:
            GateClient(run_directory).history(None)
        server.join()
    assert "holdfast volume restart-gate shop" in refused.value.mend
