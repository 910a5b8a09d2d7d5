"""A process goes on while it is looked at: what is told of a descriptor belongs together."""

from __future__ import annotations

from pathlib import Path

from holdfast.model.handle import HandleKind
from tests.kernel.users.programs import point, program, users_at

__all__ = ["point"]

LOOKS = 40

FLICKERS = """
file = os.open(point + '/f', os.O_CREAT | os.O_RDWR)
pipe = os.pipe()
number = os.dup(file)
def flicker():
    while True:
        os.dup2(pipe[0], number)
        os.dup2(file, number)
threading.Thread(target=flicker, daemon=True).start()
"""


def test_number_that_is_a_file_and_a_pipe_in_turn(point: Path) -> None:
    with program(FLICKERS, point) as process:
        found = set()
        for _ in range(LOOKS):
            user = users_at(point)[process.pid]
            found |= {(handle.kind, handle.inside) for handle in user.handles}
    assert found == {(HandleKind.FILE, "f")}
