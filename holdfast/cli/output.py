"""How things look: JSON, tables, errors, questions and progress.

Owns the decision between terminal and pipe, and is the only place of the commands that prints: what
strangers chose (names of files, processes, mounts) is escaped here. Must never print anything but
plain JSON to standard output when JSON was asked for.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from functools import partial
from io import TextIOWrapper
from textwrap import fill
from typing import TYPE_CHECKING, Any, TextIO

from holdfast.errors import HoldfastError, NotConfirmed
from holdfast.model.reporter import SILENT, Reporter
from holdfast.system.messages.printable import printable, printable_lines

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.table import Table
    from rich.text import Text

PIPE_WIDTH_COLUMNS = 1000
"""In a pipe nothing is folded or cut: one row, one line."""

SHORT_CHARACTERS = 24
"""A column whose cells are not longer stays on one line; a point in time has 23."""

STATE_STYLES = {
    "healthy": "green",
    "in-sync": "green",
    "ok": "green",
    "done": "green",
    "degraded": "yellow",
    "resyncing": "yellow",
    "limited": "yellow",
    "stale": "yellow",
    "held": "bold red",
    "failed": "bold red",
    "missing": "bold red",
    "detached": "dim",
    "spare": "cyan",
}


def plain(value: Any) -> Any:
    """A model value, or a list or dict of them, as JSON can hold it."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return value


def print_json(value: Any) -> None:
    """Print a value as JSON, indented, to standard output."""
    say(json_text(value, indent=2))


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON that loses nothing and that every terminal, pipe and parser takes.

    Letters stay; what does not simply stand there is escaped as JSON does it, also bytes that were
    no UTF-8: as the lone surrogates (`\\udce9`) by which Python's os.fsencode gets them back.
    """
    ascii_only = not (sys.stdout.encoding or "").lower().startswith("utf")
    text = json.dumps(plain(value), indent=indent, ensure_ascii=ascii_only)
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    return "".join(
        each if each == "\n" or each.isprintable() else json.dumps(each)[1:-1] for each in text
    )


def say(text: str) -> None:
    """Print a text of ours to standard output; what strangers chose in it is escaped."""
    print(printable(text, keep="\n"))


def say_folded(text: str) -> None:
    """As `say`, prose: on a terminal lines end between words. In a pipe nothing is folded."""
    out = console()
    if out.is_terminal:
        fold = partial(fill, width=out.width, break_long_words=False, break_on_hyphens=False)
        text = "\n".join(map(fold, text.split("\n")))
    say(text)


def print_error(error: HoldfastError) -> None:
    """Print an error and its mend to standard error; red on a terminal only."""
    head = f"error[{error.code}]" if error.code else "error"
    if sys.stderr.isatty():
        head = f"\x1b[1;31m{head}\x1b[0m"
    print(f"{head}: {printable_lines(error.message)}", file=sys.stderr)
    if error.mend:
        print(f"  mend: {printable_lines(error.mend)}", file=sys.stderr)


def note(text: str) -> None:
    """Say what was done, to standard error: standard output carries values only."""
    print(printable(text, keep="\n"), file=sys.stderr)


def take_every_character() -> None:
    """Escape what an output cannot show, whatever the locale, in place of a traceback.

    Progress and tables have signs of their own that are not in ASCII.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def note_thin(found: Sequence[str]) -> None:
    """Say where storage could not hold all that a volume promises."""
    for words in found:
        note(f"note: {words}")


def console(stream: TextIO | None = None) -> Console:
    """A Rich console: colours and the real width on a terminal, neither in a pipe."""
    from rich.console import Console

    stream = stream or sys.stdout
    width = None if stream.isatty() else PIPE_WIDTH_COLUMNS
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False)


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: Sequence[str] = (),
    below: Sequence[str] = (),
) -> Table | Group:
    """A table without lines; states are coloured, the columns in `right` align right.

    Where a terminal is too narrow, the columns in `below` go to lines of their own below each row,
    the first one first, as many as it takes; without any, long columns are folded.
    """
    out = console()
    if below and out.is_terminal:
        kept = _fitting(columns, rows, below, out.width)
        if len(kept) < len(columns):
            return _with_lines_below(columns, rows, kept, right)
    return _grid(columns, rows, right)


def _grid(
    columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()
) -> Table:
    from rich.table import Table

    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for index, column in enumerate(columns):
        grid.add_column(
            column,
            justify="right" if column in right else "left",
            overflow="fold",
            no_wrap=max((len(row[index]) for row in rows), default=0) <= SHORT_CHARACTERS,
        )
    for row in rows:
        grid.add_row(*map(_cell, row))
    return grid


def _fitting(
    columns: Sequence[str], rows: Sequence[Sequence[str]], below: Sequence[str], width: int
) -> list[str]:
    """The columns that fit beside each other when these may leave, the first one first."""
    from rich.cells import cell_len

    widths = {
        column: 2 + max(cell_len(printable(text)) for text in (column, *cells))
        for column, *cells in zip(columns, *rows, strict=True)
    }
    kept = list(columns)
    for column in below:
        if sum(widths[each] for each in kept) - 2 <= width:
            break
        kept.remove(column)
    return kept


def _with_lines_below(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    kept: Sequence[str],
    right: Sequence[str],
) -> Group:
    """Rows of the columns that fit; what else a row has to say stands below it, name first."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    pairs = [list(zip(columns, row, strict=True)) for row in rows]
    shown = [[cell for name, cell in row if name in kept] for row in pairs]
    lines = _lines_of(_grid(kept, shown, right))
    parts: list[Any] = list(lines[: len(lines) - len(rows)])
    for line, row in zip(lines[len(lines) - len(rows) :], pairs, strict=True):
        parts.append(line)
        for name, cell in row:
            if name not in kept and cell:
                words = Text.assemble((f"{name}: ", "dim"), _cell(cell))
                parts.append(Padding(words, (0, 0, 0, 4)))
    return Group(*parts)


def _lines_of(grid: Table) -> list[Any]:
    """The lines of a table, one for each row, however wide; each can be printed by itself."""
    from rich.segment import Segment, Segments

    out = console()
    options = out.options.update(width=PIPE_WIDTH_COLUMNS, no_wrap=True)
    rendered = out.render_lines(grid, options, pad=False)
    return [Segments([*line, Segment.line()]) for line in rendered]


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: Sequence[str] = (),
    below: Sequence[str] = (),
) -> None:
    """Print such a table to standard output."""
    print_grid(table(columns, rows, right, below))


def facts(pairs: Sequence[tuple[str, str]]) -> Table:
    """Names and values, one pair a line."""
    from rich.table import Table

    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    for name, value in pairs:
        grid.add_row(name, _cell(value))
    return grid


def print_facts(pairs: Sequence[tuple[str, str]]) -> None:
    """Print such pairs to standard output."""
    print_grid(facts(pairs))


def print_grid(grid: Table | Group) -> None:
    """Print a table to standard output, without the blanks that Rich puts at ends of lines."""
    out = console()
    if out.is_terminal:
        out.print(grid)
        return
    with out.capture() as capture:
        out.print(grid)
    print("\n".join(line.rstrip() for line in capture.get().rstrip("\n").split("\n")))


def _cell(text: str) -> Text:
    from rich.text import Text

    return Text(printable(text), STATE_STYLES.get(text.partition(",")[0], ""))


def confirm(question: str, yes: bool) -> None:
    """Return when the answer is yes. Raises NotConfirmed: said no, or nobody there to ask."""
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise NotConfirmed(question.rstrip("?") + ": not confirmed", "Add --yes to do it.")
    print(f"{printable(question)} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise NotConfirmed("not confirmed, nothing was changed", "Answer y, or add --yes.")


@contextmanager
def stepped_progress(description: str) -> Iterator[Reporter]:
    """A progress bar that also says what is at work; yields who is told what, and how far.

    Silent when standard error is no terminal.
    """
    if not sys.stderr.isatty():
        yield SILENT
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(
        *columns, TimeElapsedColumn(), console=console(sys.stderr), transient=True
    ) as bar:
        task = bar.add_task(description, total=100.0)
        yield Reporter(
            lambda step: bar.update(
                task, completed=0.0, description=printable(f"{description}: {step}")
            ),
            lambda percent: bar.update(task, completed=percent),
        )


@contextmanager
def steps(description: str) -> Iterator[Reporter]:
    """Shows which step is at work, on a terminal; yields who is told."""
    if not sys.stderr.isatty():
        yield SILENT
        return
    with console(sys.stderr).status(printable(description)) as line:
        yield Reporter(say=lambda step: line.update(printable(f"{description}: {step}")))
