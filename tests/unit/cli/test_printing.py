"""Whatever strangers call their files and processes: terminals and parsers of JSON take it."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import holdfast.cli
from holdfast.cli.output import json_text, note, print_error, print_facts, print_table, say
from holdfast.errors import InUse

NASTY = "x\x1b]0;PWNED\x07\x1b[31m\ny\u202e\u2028" + os.fsdecode(b"caf\xe9")


def test_nothing_raw_reaches_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    say(NASTY)
    note(NASTY)
    print_error(InUse(NASTY, NASTY))
    print_facts([("name", NASTY)])
    print_table(("name", "state"), [(NASTY, "ok")])
    shown = capsys.readouterr()
    for text in (shown.out, shown.err):
        assert text.replace("\n", "").isprintable()
        assert "caf\\xe9" in text
    assert len(shown.err.splitlines()) == 2 + 2 + 2  # a second line of a message is indented
    assert "\n    y" in shown.err


@given(st.dictionaries(st.text(), st.text(st.characters(exclude_categories=()))))
def test_json_loses_nothing(value: dict[str, str]) -> None:
    text = json_text(value, indent=2)
    assert json.loads(text) == value
    text.encode()
    assert text.replace("\n", "").isprintable()


def test_letters_stay_letters_in_json() -> None:
    assert json_text({"name": "für alle 文"}) == '{"name": "für alle 文"}'


@pytest.mark.parametrize("encoding", ["ascii:strict", "utf-8:strict", "latin-1:strict"])
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_a_strict_locale_is_no_reason_for_a_traceback(encoding: str, locale: str) -> None:
    program = (
        "from holdfast.cli import output as o; o.take_every_character()\n"
        f"x = {NASTY + ' … 文'!a}; o.say(x); o.note(x); o.print_facts([('a', x)])\n"
        "print('@@'); o.print_json([x])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "LC_ALL": locale, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"\x1b" not in done.stdout + done.stderr
    assert json.loads(done.stdout.partition(b"@@")[2].decode()) == [NASTY + " … 文"]


def test_no_other_module_of_the_commands_prints() -> None:
    found = []
    for path in sorted(Path(holdfast.cli.__file__).parent.rglob("*.py")):
        if path.name == "output.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "print" and node.args:
                found.append(f"{path.name}:{node.lineno}: {ast.unparse(node)}")
    allowed = ("version(", "get_help()", "capture.get()")
    assert not [text for text in found if not any(word in text for word in allowed)]
