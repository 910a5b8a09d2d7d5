"""What strangers write does not move a cursor, forge a line, or end in a traceback."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.system.messages.printable import printable, printable_lines


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain text, with ünïcode 文", "plain text, with ünïcode 文"),
        ("\x1b]0;PWNED\x07", "\\x1b]0;PWNED\\x07"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("a\u2028b\u2029c\x85d", "a\\u2028b\\u2029c\\x85d"),
        ("invoice\u202efdp.exe", "invoice\\u202efdp.exe"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        (os.fsdecode(b"caf\xe9"), "caf\\xe9"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("dev-disk\\x2dby", "dev-disk\\x2dby"),
    ],
)
def test_only_what_does_not_simply_stand_there_is_escaped(text: str, expected: str) -> None:
    assert printable(text) == expected


@given(st.text(st.characters(exclude_categories=())))
def test_every_text_becomes_one_line_that_any_unicode_terminal_takes(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    shown.encode()
    assert len(shown.splitlines()) <= 1


def test_a_line_of_a_message_cannot_pass_for_another_message() -> None:
    assert printable_lines("mount failed:\nerror[IO]: forged\x1b[2J\n") == (
        "mount failed:\n    error[IO]: forged\\x1b[2J"
    )
