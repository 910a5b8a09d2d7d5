"""holdfast users: who keeps a volume busy, and by what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.options import AsJson, VolumeName, positive_duration
from holdfast.cli.output import console, note, print_json, table
from holdfast.cli.session import session
from holdfast.model.handle import HandleKind
from holdfast.model.size import format_size
from holdfast.system.messages.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.tree import Tree

    from holdfast.model.handle import FileLock, Handle, User
    from holdfast.model.usage import Transfer, Usage

SHORT_LIST = 20
"""Handles shown of one process without --all."""

COMMAND_CHARACTERS = 100
"""Of a command line; --json has all of it."""

_COLUMNS = ("kind", "number", "mode", "offset", "path", "notes")


def users(
    name: VolumeName,
    watch: Annotated[
        float | None,
        typer.Option(
            "--watch",
            metavar="TIME",
            parser=positive_duration,
            help="Watch so long, and tell how much each process reads and writes.",
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help=f"Every handle, not the first {SHORT_LIST}.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show who keeps a volume busy: applications, their processes, and each handle.

    All mount namespaces and containers are looked at. Nothing is touched or stopped.
    """
    with session() as holdfast:
        usage = holdfast.users(name, watch or 0.0)
    if as_json:
        print_json(usage)
    elif usage.users or usage.kernel:
        _print(usage, everything)
    else:
        note(f"nobody uses {name}")


def _print(usage: Usage, everything: bool) -> None:
    from rich.text import Text
    from rich.tree import Tree

    out = console()
    tree = Tree(Text(printable(f"{usage.volume} at {usage.mount}"), "bold"), guide_style="dim")
    transfers = {transfer.pid: transfer for transfer in usage.transfers}
    for title, members in _by_application(usage.users):
        branch = tree.add(Text(printable(title), "cyan"))
        for user in members:
            _add_process(branch, user, transfers.get(user.pid), everything)
    if usage.kernel:
        branch = tree.add(Text("the kernel", "cyan"))
        branch.add(table(_COLUMNS, [_row(handle) for handle in usage.kernel], right=_COLUMNS[3:4]))
    with out.capture() as capture:
        out.print(tree)
    print("\n".join(line.rstrip() for line in capture.get().rstrip("\n").split("\n")))


def _by_application(members: Sequence[User]) -> Iterator[tuple[str, list[User]]]:
    groups: dict[tuple[str, str], list[User]] = {}
    for user in members:
        application = user.application
        groups.setdefault((application.name, application.container), []).append(user)
    for (name, container), group in sorted(groups.items()):
        extra = f" (container {container})" if container and container != name else ""
        yield f"{name}{extra}", group


def _add_process(branch: Tree, user: User, transfer: Transfer | None, everything: bool) -> None:
    from rich.text import Text

    facts = [f"user {user.user_id}", f"state {user.state}"]
    if len(user.threads) > 1:
        facts.append(f"{len(user.threads)} threads")
    if user.read_bytes is not None and user.written_bytes is not None:
        facts.append(f"read {_amount(user.read_bytes)}, written {_amount(user.written_bytes)}")
    if transfer is not None:
        reading, writing = transfer.read_bytes_per_second, transfer.written_bytes_per_second
        facts.append(f"now {_amount(reading)}/s read, {_amount(writing)}/s written")
    leaf = branch.add(
        Text.assemble(
            (f"{printable(user.name)} (process {user.pid})", "bold"),
            f": {', '.join(facts)}\n",
            (_on_one_line(user.command), "dim"),
        )
    )
    rows = list(_rows(user.handles))
    shown = rows if everything else rows[:SHORT_LIST]
    leaf.add(table(_COLUMNS, shown, right=("number", "offset")))
    if len(shown) < len(rows):
        leaf.add(Text(f"and {len(rows) - len(shown)} more: --all or --json", "dim"))


def _on_one_line(command: str) -> str:
    words = printable(" ".join(command.split()))
    return words if len(words) <= COMMAND_CHARACTERS else words[: COMMAND_CHARACTERS - 1] + "…"


def _rows(handles: Sequence[Handle]) -> Iterator[tuple[str, ...]]:
    """One row per handle; the maps of one file share one."""
    maps: dict[tuple[str, bool], list[Handle]] = {}
    for handle in handles:
        if handle.kind == "map":
            maps.setdefault((handle.path, handle.deleted), []).append(handle)
    for handle in handles:
        if handle.kind != "map":
            yield _row(handle)
    for group in maps.values():
        modes = " ".join(dict.fromkeys(handle.mode for handle in group))
        amount = sum(handle.end - handle.start for handle in group)
        plural = f"{len(group)} maps, " if len(group) > 1 else ""
        notes = f"{plural}{_amount(amount)}" + (", deleted" if group[0].deleted else "")
        yield ("map", "", modes, "", group[0].path, notes)


def _row(handle: Handle) -> tuple[str, ...]:
    notes = [_lock(lock) for lock in handle.locks]
    if handle.deleted:
        notes.append("deleted")
    if handle.thread_id is not None:
        notes.append(f"thread {handle.thread_id} only")
    return (
        str(handle.kind),
        "" if handle.number is None else str(handle.number),
        handle.mode,
        str(handle.offset) if handle.kind is HandleKind.FILE else "",
        handle.path,
        ", ".join(notes),
    )


def _lock(lock: FileLock) -> str:
    if lock.start == 0 and lock.end is None:
        return f"{lock.kind} {lock.mode} lock"
    end = "end" if lock.end is None else str(lock.end)
    return f"{lock.kind} {lock.mode} lock of bytes {lock.start} to {end}"


def _amount(count: float) -> str:
    return format_size(round(count)) if count >= 1 else "0"
