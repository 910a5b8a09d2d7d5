"""Pages for man(1): one for each word that can follow `holdfast`, and one of them all. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.cli.typed.forms import PROGRAM, CommandForm

SECTION = 8
"""Commands of the system's administrator, man-pages(7)."""

_ESCAPED = {"\\": r"\e", "-": r"\-", "'": r"\(aq", "^": r"\(ha", "~": r"\(ti", "`": r"\(ga"}
"""What roff would read as a command, or show as another character than the one that is typed."""


def pages(root: CommandForm, version: str) -> dict[str, str]:
    """The text of each page by its file name. Characters beyond ASCII stay, in UTF-8."""
    written = {_file_of(root): _overview(root, version)}
    for each in root.below:
        written[_file_of(each)] = _page(root, each, version)
    return written


def _file_of(form: CommandForm) -> str:
    return f"{_title(form)}.{SECTION}"


def _title(form: CommandForm) -> str:
    return "-".join((PROGRAM, *form.words))


def _overview(root: CommandForm, version: str) -> str:
    lines = [*_head(root, version), *_synopsis([root]), ".SH DESCRIPTION", *_paragraphs(root.text)]
    lines += [".SH COMMANDS"]
    for each in root.below:
        lines += [".TP", rf".BR {_escaped(_title(each))} ({SECTION})", _line(each.summary)]
    lines += [*_options(root, ".SH OPTIONS"), *_places(), *_seen(root.below)]
    return _text(lines)


def _page(root: CommandForm, form: CommandForm, version: str) -> str:
    commands = form.below or (form,)
    lines = [*_head(form, version), *_synopsis(commands)]
    lines += [".SH DESCRIPTION", *_paragraphs(form.text)]
    if not form.below:
        lines += _values(form, ".SH OPTIONS")
    else:
        lines += [".SH COMMANDS"]
        for each in form.below:
            lines += [f".SS {_escaped(' '.join((PROGRAM, *each.words)))}"]
            lines += [*_paragraphs(each.text), *_values(each, "")]
    return _text([*lines, *_places(), *_seen((root,))])


def _head(form: CommandForm, version: str) -> list[str]:
    title = _title(form)
    return [
        rf".\" Made from the same source as {' '.join((PROGRAM, *form.words))} --help.",
        f'.TH {_escaped(title.upper())} {SECTION} "" "{PROGRAM} {_escaped(version)}" "Holdfast"',
        ".SH NAME",
        rf"{_escaped(title)} \- {_escaped(_unstopped(form.summary))}",
    ]


def _unstopped(summary: str) -> str:
    return summary[:1].lower() + summary[1:].rstrip(".")


def _synopsis(forms: tuple[CommandForm, ...] | list[CommandForm]) -> list[str]:
    lines = [".SH SYNOPSIS"]
    for form in forms:
        lines += [f".B {_escaped(' '.join((PROGRAM, *form.words)))}", _line(form.usage), ".br"]
    return lines[:-1]


def _values(form: CommandForm, heading: str) -> Iterator[str]:
    """Arguments and options; `heading` is none in a list of commands."""
    if heading and (form.arguments or form.options):
        yield heading
    for argument in form.arguments:
        yield from (".TP", rf"\fI{_escaped(argument.value.metavar)}\fR", _line(argument.help))
    yield from _options(form, "")


def _options(form: CommandForm, heading: str) -> Iterator[str]:
    if heading:
        yield heading
    for option in form.options:
        shown = ", ".join(rf"\fB{_escaped(each)}\fR" for each in option.spellings)
        value = "" if option.value is None else rf" \fI{_escaped(option.value.metavar)}\fR"
        yield from (".TP", shown + value, _line(option.help))


def _places() -> list[str]:
    return [
        ".SH ENVIRONMENT",
        ".TP",
        ".B HOLDFAST_HOME",
        _line("State is in HOME/state and run time in HOME/run, instead of the two below."),
        ".SH FILES",
        ".TP",
        ".I /var/lib/holdfast",
        _line("State: the catalog, and what a gate must find again after a crash."),
        ".TP",
        ".I /run/holdfast",
        _line("Run time: control sockets and counters of gates."),
        ".SH EXIT STATUS",
        _line("0 when it is done; 2 when it was typed wrongly; any other has an error's code:"),
        r".BR holdfast\-explain (8).",
    ]


def _seen(forms: tuple[CommandForm, ...]) -> list[str]:
    last = len(forms) - 1
    references = [
        rf".BR {_escaped(_title(each))} ({SECTION}){'' if number == last else ','}"
        for number, each in enumerate(forms)
    ]
    return [".SH SEE ALSO", *references]


def _paragraphs(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(text.split("\n\n")):
        if number:
            yield ".PP"
        yield _line(" ".join(paragraph.split()))


def _line(text: str) -> str:
    """A line of text, whatever it begins with."""
    escaped = _escaped(" ".join(text.split()))
    return rf"\&{escaped}" if escaped[:1] in (".", "\\") else escaped


def _escaped(text: str) -> str:
    return "".join(_ESCAPED.get(each, each) for each in text)


def _text(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"
