"""What is typed wrongly is told clearly, with the exit status that the documentation promises.

Every command here ends before it looks at storage; the state lies in a folder of its own.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from holdfast.cli import application, main
from holdfast.error_codes import leaves


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOLDFAST_HOME", str(tmp_path))
    monkeypatch.delenv("HOLDFAST_DEBUG", raising=False)
    return tmp_path


CREATE = ["volume", "create", "bank", "--size", "1G", "--mount", "/mnt/bank"]

REFUSED = [
    (["volume", "create", "a/b", *CREATE[3:]], 2, "NAME"),
    (["volume", "show", "../x"], 2, "NAME"),
    (["volume", "show", "x" * 41], 2, "NAME"),
    (["receipt", "list", "a b"], 2, "NAME"),
    ([*CREATE, "--size", "0"], 2, "SIZE"),
    ([*CREATE, "--size", "5E"], 2, "SIZE"),
    (["volume", "resize", "bank", "-3G"], 2, "OPTION"),
    (["volume", "resize", "bank", "99999T"], 2, "SIZE"),
    ([*CREATE, "--hold-timeout", "soon"], 2, "OPTION"),
    ([*CREATE, "--hold-timeout", "9999d"], 2, "OPTION"),
    ([*CREATE, "--hang-timeout", "0"], 2, "OPTION"),
    (["volume", "hold", "bank", "--for", "0"], 2, "OPTION"),
    (["drill", "bank", "--fault", "leg-eio", "--for", "later"], 2, "OPTION"),
    (["volume", "create", "bank"], 2, "OPTION"),
    (["volume", "nonsense"], 2, "OPTION"),
    (["nonsense"], 2, "OPTION"),
    (["status", "--nonsense"], 2, "OPTION"),
    (["explain", "NONSENSE"], 2, "OPTION"),
    (["receipt", "list", "--limit", "0"], 2, "OPTION"),
]


@pytest.mark.parametrize(("arguments", "status", "code"), REFUSED)
def test_bad_input_is_refused_with_code_mend_and_status(
    arguments: list[str], status: int, code: str, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    assert main(arguments) == status
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.match(rf"error\[{code}\]: .+\n  mend: .+\n$", printed.err), printed.err
    assert list(home.iterdir()) == []


def test_without_arguments_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    for family in ([], ["volume"], ["leg"], ["receipt"]):
        capsys.readouterr()
        assert main([*family, "--help"]) == 0
        assert "Usage: holdfast" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert re.fullmatch(r"holdfast \d+\.\d+\.\d+\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "mend"),
    [
        (["files", "restore", "bank", "orders", "--at", "now"],
         "holdfast files NAME ls|restore PATH --at WHEN"),
        (["clone", "bank", "--at", "now"], "holdfast clone NAME NEW --at WHEN --mount PATH"),
        (["copy", "add", "bank"], "holdfast copy add NAME URL"),
        (["undelete", "bank"], "holdfast files --help"),
        (["rewind", "bank"], "holdfast clone --help"),
        (["nonsense"], "holdfast --help"),
    ],
)  # fmt: skip
def test_who_types_it_otherwise_is_told_how_it_is_typed(
    arguments: list[str], mend: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`rewind` was told of `rebind`, which is something else."""
    assert main(arguments) == 2
    error, said = capsys.readouterr().err.rstrip().split("\n")
    assert mend in said
    assert "rebind" not in error


@pytest.mark.parametrize("leaf", list(leaves()), ids=lambda leaf: leaf.code)
def test_every_code_is_explained(leaf: type, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", leaf.code.lower(), "--json"]) == 0
    explained = json.loads(capsys.readouterr().out)
    assert explained["code"] == leaf.code
    assert explained["exit_status"] == leaf.exit_status
    assert explained["explanation"] == " ".join((leaf.__doc__ or "").split())


def test_explain_lists_all_codes_in_aligned_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["code", *(leaf.code for leaf in leaves())]
    assert len({line.index(line.split(maxsplit=2)[2]) for line in lines}) == 1
    assert not any(line != line.rstrip() or "\x1b" in line for line in lines)


def test_doctor_says_plain_json(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    status = main(["doctor", "--json"])
    printed = capsys.readouterr()
    answer = json.loads(printed.out)
    missing = [entry for entry in answer["findings"] if entry["verdict"] == "missing"]
    assert status == (5 if missing else 0)
    assert answer["sufficient"] == (not missing)
    assert {"rights", "FUSE device", "takeover", "loop devices", "state directory"} <= {
        entry["subject"] for entry in answer["findings"]
    }
    for entry in answer["findings"]:
        assert set(entry) == {"subject", "verdict", "found", "meaning", "mend"}
        assert entry["found"]
        if entry["verdict"] != "ok":
            assert entry["meaning"] and entry["mend"]
    assert list(home.iterdir()) == []


def test_typer_sees_the_same_commands() -> None:
    shown = CliRunner().invoke(application.application, ["--help"])
    assert shown.exit_code == 0
    for name in ("volume", "leg", "drill", "receipt", "status", "doctor", "explain", "recover",
                 "demo"):  # fmt: skip
        assert re.search(rf"^ +{name} ", shown.output, re.MULTILINE), shown.output


def test_a_state_directory_that_cannot_be_is_a_coded_error(
    capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    (home / "state").write_text("a file where a folder must be")
    assert main(["volume", "list"]) == 7
    assert "cannot be opened" in capsys.readouterr().err


def test_a_log_level_in_the_environment_that_is_none_ends_no_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is said, once; typed as an option it is refused."""
    monkeypatch.setenv("HOLDFAST_LOG", "loud")
    done = CliRunner().invoke(application.application, ["explain", "NAME"])
    assert done.exit_code == 0
    assert done.stderr.count("'loud' is no log level, info is used instead") == 1
    assert done.stdout.startswith("NAME")
    monkeypatch.setenv("HOLDFAST_LOG", "info")
    done = CliRunner().invoke(application.application, ["--log-level", "loud", "explain", "NAME"])
    assert done.exit_code != 0
