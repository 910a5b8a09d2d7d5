"""The pages for man(1) say what `--help` says, and man(1) has nothing against them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import typer

from holdfast.cli import main
from holdfast.cli.application import application
from holdfast.cli.typed.forms import form_of
from holdfast.cli.typed.roff import pages

ROOT = form_of(typer.main.get_command(application))
PAGES = pages(ROOT, "1.2")


def shown(page: str, folder: Path) -> str:
    """As a terminal shows it, without lines; what the formatter warns of fails."""
    (folder / "page").write_text(page)
    said = subprocess.run(
        ["groff", "-man", "-ww", "-Kutf8", "-Tutf8", "-P-c", "-rLL=4000n", folder / "page"],
        capture_output=True,
        check=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    assert said.stderr == b""
    text = re.sub(r".\x08", "", said.stdout.decode())
    return " ".join(text.replace("\u2010\n", "").split())


@pytest.mark.skipif(shutil.which("groff") is None, reason="this host has no groff")
def test_every_page_has_every_word_of_the_help(tmp_path: Path) -> None:
    texts = {name: shown(page, tmp_path) for name, page in PAGES.items()}
    for form in ROOT.everything():
        text = texts[f"{'-'.join(('holdfast', *form.words[:1]))}.8"]
        assert " ".join(form.summary.rstrip(".").split())[1:] in text
        for paragraph in form.text.split("\n\n"):
            assert " ".join(paragraph.split()) in text
        for option in form.options:
            assert ", ".join(option.spellings) in text
            assert " ".join(option.help.split()) in text
        for argument in form.arguments:
            assert f"{argument.value.metavar} {' '.join(argument.help.split())}".strip() in text


def test_no_line_is_a_request_by_chance() -> None:
    """What a text begins with is text."""
    known = {".TH", ".SH", ".SS", ".TP", ".PP", ".B", ".BR", ".I", ".br", '.\\"'}
    for page in PAGES.values():
        assert {line.split()[0] for line in page.split("\n") if line[:1] == "."} <= known
        assert not [line for line in page.split("\n") if line[:1] == "'"]


def test_pages_are_written_for_a_package(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_HOME", str(tmp_path))
    assert main(["manual", str(tmp_path / "man" / "man8")]) == 0
    written = {path.name for path in (tmp_path / "man" / "man8").iterdir()}
    assert written == set(PAGES)
    (tmp_path / "file").touch()
    assert main(["manual", str(tmp_path / "file")]) != 0
    assert "error[" in capsys.readouterr().err
