"""Running commands: output, their own words on failure, absence, deadline."""

from __future__ import annotations

import time

import pytest

from holdfast.errors import CommandFailed, DeadlinePassed, MissingTool
from holdfast.system.children.run import find_tool, run


def test_output_is_captured_in_the_c_locale() -> None:
    assert "LC_ALL=C\n" in run(["env"]).stdout


def test_failure_carries_the_command_and_its_own_words() -> None:
    with pytest.raises(CommandFailed, match=r"ls /does/not/exist failed .*No such file") as raised:
        run(["ls", "/does/not/exist"])
    assert raised.value.code == "COMMAND"


def test_an_accepted_exit_status_is_not_a_failure() -> None:
    assert run(["false"], accepted=(0, 1)).returncode == 1


def test_an_absent_program_is_named() -> None:
    with pytest.raises(MissingTool, match="no-such-program-here is not installed"):
        run(["no-such-program-here"])


def test_a_command_that_does_not_end_is_given_up() -> None:
    started = time.monotonic()
    with pytest.raises(DeadlinePassed, match=r"did not end within 0.1 s"):
        run(["sleep", "30"], deadline_seconds=0.1)
    assert time.monotonic() - started < 5


def test_arguments_never_pass_through_a_shell() -> None:
    assert run(["echo", "$(id); *"]).stdout == "$(id); *\n"


def test_system_folders_are_searched_whatever_path_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert find_tool("losetup")
