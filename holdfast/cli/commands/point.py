"""holdfast point: moments of a volume that have a name."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.options import AsJson, VolumeName, positive_duration
from holdfast.cli.output import note, print_json, print_table, say
from holdfast.cli.session import session
from holdfast.errors import InvalidOption
from holdfast.model.hook import PointHooks
from holdfast.model.schedule import PointKind
from holdfast.model.volume import check_name

if TYPE_CHECKING:
    from holdfast.model.point import PointReport

commands = typer.Typer(
    help="Name moments of a volume whose history is kept.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

PointName = Annotated[str, typer.Argument(metavar="POINT", help="The moment's name.")]


@commands.command()
def create(
    name: VolumeName,
    point: PointName,
    others: Annotated[
        list[str] | None,
        typer.Option(
            "--with", metavar="OTHER", help="Of another volume at the same moment; repeatable."
        ),
    ] = None,
    before: Annotated[
        str, typer.Option("--before", metavar="COMMAND", help="Run it first, as root, no shell.")
    ] = "",
    after: Annotated[
        str, typer.Option("--after", metavar="COMMAND", help="Run it afterwards, whatever happens.")
    ] = "",
    hook_timeout: Annotated[
        float,
        typer.Option(
            "--hook-timeout",
            metavar="TIME",
            parser=positive_duration,
            help="For each of them.",
            show_default="60s",
        ),
    ] = 60.0,
    ignore_before: Annotated[
        bool, typer.Option("--ignore-before", help="Take the point though --before failed.")
    ] = False,
) -> None:
    """Name the present moment: restore, clone and files take it for WHEN.

    With --with of several volumes at one moment, for which all of them are held: of each, or of
    none.
    """
    hooks = PointHooks(before, after, hook_timeout, ignore_before)
    with session() as holdfast:
        histories = holdfast.histories
        if others:
            found = histories.groups.create([name, *others], point, hooks)
        else:
            found = (histories.points.create(name, point, hooks),)
    for made in found:
        note(f"{made.name} is {made.volume} at position {made.position}")


@commands.command(name="list")
def list_points(
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="Of this volume; of all without it.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """List points, and whether they can be reached now."""
    with session() as holdfast:
        found = holdfast.histories.points.show(check_name(name) if name else "")
    if as_json:
        print_json([each.as_json() for each in found])
        return
    columns = ("volume", "point", "made", "position", "with", "state", "why")
    print_table(columns, [_row(each) for each in found], below=("why",))


@commands.command()
def delete(name: VolumeName, point: PointName) -> None:
    """Forget a name; what was written then stays in the history as long as it would."""
    with session() as holdfast:
        found = holdfast.histories.points.remove(name, point)
    note(f"forgot {found.name}, which was position:{found.position}")


@commands.command()
def schedule(
    name: VolumeName,
    hourly: Annotated[
        int | None,
        typer.Option(
            "--hourly", metavar="NUMBER", help="One each hour, and keep so many; 0: none."
        ),
    ] = None,
    daily: Annotated[
        int | None, typer.Option("--daily", metavar="NUMBER", help="The same for each local day.")
    ] = None,
    weekly: Annotated[
        int | None, typer.Option("--weekly", metavar="NUMBER", help="The same for each week.")
    ] = None,
    off: Annotated[
        bool, typer.Option("--off", help="Make none any more; those that are there stay.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Have the daemon make points, and delete the oldest of them; without an option: show it."""
    asked = {"hourly": hourly, "daily": daily, "weekly": weekly}
    kept = {kind: number for kind, number in asked.items() if number is not None}
    if off and kept:
        raise InvalidOption(
            "both --off and what is to be made were named", "Leave out one of them."
        )
    if off:
        kept = dict.fromkeys(asked, 0)
    with session() as holdfast:
        schedules = holdfast.histories.schedules
        found = schedules.set(name, **kept) if kept else schedules.show(name)
    if as_json:
        print_json(found.as_json())
        return
    words = ", ".join(f"{found.kept(kind)} {kind}" for kind in PointKind if found.kept(kind))
    if not words:
        say(f"No points of {name} are made by themselves (--hourly 24 --daily 7 has them made)")
        return
    say(f"Of {name} the daemon makes points, and keeps {words}")
    note("a point keeps nothing: holdfast point list says which can be reached")


def _row(report: PointReport) -> tuple[str, ...]:
    point = report.point
    made = datetime.fromtimestamp(point.made).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")
    others = ", ".join(report.others)
    return point.volume, point.name, made, str(point.position), others, report.state, report.reason
