"""holdfast copy: images from which the history of a volume leads to later moments."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.options import AsJson, DryRun, VolumeName, Yes, parse_duration
from holdfast.cli.output import confirm, note, print_json, print_table, say, stepped_progress
from holdfast.cli.session import session
from holdfast.cli.views import duration_text, following_text
from holdfast.errors import InvalidOption
from holdfast.model.following import checked_lag
from holdfast.model.moment import in_full
from holdfast.model.size import format_size
from holdfast.model.volume import check_name

if TYPE_CHECKING:
    from holdfast.model.copy import CopyReport, VolumeCopy
    from holdfast.service import Holdfast

commands = typer.Typer(
    help="Manage the copies of a volume from which its history leads on.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

CopyName = Annotated[
    str, typer.Argument(metavar="COPY", help="Id or URL of the copy (see copy list).")
]


def _lag(text: str | float) -> float:
    """Seconds; 0: it does not follow. Raises InvalidOption."""
    return 0.0 if text == "off" else checked_lag(parse_duration(text))


@commands.command()
def add(
    name: VolumeName,
    url: Annotated[
        str, typer.Argument(metavar="URL", help="An image to be made: file:/absolute/path.img.")
    ],
    lag: Annotated[
        float | None,
        typer.Option(
            "--lag",
            metavar="TIME",
            parser=_lag,
            help="Have the daemon bring it on when it is behind by so much, e.g. 5m.",
        ),
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Copy a volume in use: any moment after that can be reached with its history."""
    with session() as holdfast:
        copies = holdfast.histories.copies
        if dry_run:
            say(f"Would {copies.plan_add(name, url)}")
            return
        with stepped_progress(f"copying {name}") as reporter:
            made = copies.add(name, url, reporter)
        if lag:
            holdfast.histories.following.set(name, made.id, lag)
    note(f"{made.url} is a copy of {name}: moments from {_from(made)} on can be had")
    if lag:
        _say_followed(lag)


@commands.command(name="list")
def list_copies(
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="Of this volume; of all without it.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """List copies, and what they are good for now."""
    with session() as holdfast:
        found = holdfast.histories.following.listed(check_name(name) if name else "")
    if as_json:
        print_json([each.as_json() for each in found])
        return
    columns = ("id", "volume", "state", "size", "moments from", "follows", "position", "url", "why")
    print_table(columns, [_row(each) for each in found], below=("url", "why", "position"))


@commands.command(name="set")
def change(
    name: VolumeName,
    copy: CopyName,
    lag: Annotated[
        float,
        typer.Option(
            "--lag",
            metavar="TIME",
            parser=_lag,
            help="Have the daemon bring it on when it is behind by so much; off: not any more.",
        ),
    ],
) -> None:
    """Have a copy follow its volume by itself, or not any more."""
    with session() as holdfast:
        found = holdfast.histories.following.set(name, copy, lag or None)
    if not lag:
        note(f"{found.url} stays as it is: holdfast copy advance brings it on")
        return
    note(f"{found.url} follows {name}")
    _say_followed(lag)


@commands.command()
def advance(name: VolumeName, copy: CopyName) -> None:
    """Bring a copy to the present: older history may go then, and older moments with it."""
    with session() as holdfast, stepped_progress(f"bringing {copy} up to date") as reporter:
        made = holdfast.histories.copies.advance(name, copy, reporter)
    note(f"{made.url} is up to date: moments from {_from(made)} on can be had from it, none before")


@commands.command()
def promote(
    name: VolumeName,
    copy: Annotated[
        str, typer.Argument(metavar="[COPY]", help="Id or URL; without it the newest that serves.")
    ] = "",
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Of a detached volume: accept that what may be missing is lost."
        ),
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Let a copy take the place of all legs, which are lost: the volume goes on, to the last write.

    The copy is used up: make another one afterwards. A volume that is detached is attached then.
    """
    with session() as holdfast:
        if holdfast.histories.promotions_at_rest.applies(name):
            _promote_at_rest(holdfast, name, copy, force=force, dry_run=dry_run, yes=yes)
            return
        if force:
            raise InvalidOption(
                f"{name} is in use: its gate knows what was acknowledged", "Leave out --force."
            )
        promotions = holdfast.histories.promotions
        plan = promotions.plan(name, copy, though_legs_serve=dry_run)
        if dry_run:
            applied = format_size(plan.history_bytes)
            say(f"Would let {plan.copy.url} take the place of {', '.join(plan.lost)}")
            say(f"{applied} of history are applied first, to position {plan.position}")
            return
        confirm(f"Let {plan.copy.url} take the place of {', '.join(plan.lost)}?", yes)
        with stepped_progress(f"{name} goes on with {plan.copy.url}") as reporter:
            # Who agreed to one is not given another.
            receipt = promotions.promote(name, copy if yes else plan.copy.id, reporter)
    note(
        f"{name}: {receipt.outcome}; whoever used it waited {receipt.longest_wait_ms / 1000:.1f} s"
    )
    note(f"holdfast copy add {name} URL makes another copy; holdfast leg add {name} URL a leg")


def _promote_at_rest(
    holdfast: Holdfast, name: str, which: str, *, force: bool, dry_run: bool, yes: bool
) -> None:
    promotions = holdfast.histories.promotions_at_rest
    plan = promotions.plan(name, which)
    until = f"position {plan.position}"
    if plan.written is not None:
        until += f", {in_full(plan.written)}"
    if dry_run:
        say(
            f"Would let {plan.copy.url} take the place of {', '.join(plan.lost)}, and attach {name}"
        )
        say(f"{format_size(plan.history_bytes)} of history are applied first, to {until}")
        if plan.lacking:
            say(f"Only with --force, as more may have been acknowledged: {plan.lacking}")
        return
    if not plan.lacking or force:
        lost = f"; what came after {until} is lost" if plan.lacking else ""
        confirm(f"Let {plan.copy.url} take the place of {', '.join(plan.lost)}{lost}?", yes)
    with stepped_progress(f"{name} goes on with {plan.copy.url}") as reporter:
        receipt = promotions.promote(name, plan.copy.id, reporter, force=force)
        note(f"{name}: {receipt.outcome}")
        holdfast.attach_volume(name, reporter=reporter)
    note(f"{name} is attached as it was at {until}")
    note(f"holdfast copy add {name} URL makes another copy; holdfast leg add {name} URL a leg")


@commands.command()
def switch(
    name: VolumeName,
    copy: Annotated[
        str, typer.Argument(metavar="[COPY]", help="Id or URL; without it the only one.")
    ] = "",
    leg: Annotated[
        str, typer.Option("--leg", metavar="LEG", help="Number, id or URL, of several legs.")
    ] = "",
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Let a copy and a leg change places, in use: the copy is the leg then, the leg a copy.

    The same again takes it back. Requests wait for some milliseconds.
    """
    with session() as holdfast:
        switches = holdfast.histories.switches
        plan = switches.plan(name, copy, leg)
        words = f"{plan.copy.url} and leg {plan.leg_number} ({plan.leg_url}) of {name}"
        if dry_run:
            say(f"Would let {words} change places")
            say(f"{format_size(plan.history_bytes)} of history are applied first")
            return
        confirm(f"Let {words} change places?", yes)
        with stepped_progress(f"{words} change places") as reporter:
            receipt = switches.switch(name, plan.copy.id, plan.leg_url, reporter)
    note(f"{name}: {receipt.outcome}")


@commands.command()
def verify(name: VolumeName, copy: CopyName) -> None:
    """Read all of a copy and of the history that follows it."""
    with session() as holdfast, stepped_progress(f"reading {copy}") as reporter:
        end = holdfast.histories.copies.verify(name, copy, reporter)
    say(f"The history leads from it up to position {end}, without a gap")


@commands.command()
def remove(
    name: VolumeName,
    copy: CopyName,
    keep_image: Annotated[
        bool, typer.Option("--keep-image", help="Only forget it; the image stays.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Remove a copy with its image."""
    with session() as holdfast:
        copies = holdfast.histories.copies
        found = copies.find(name, copy)
        if not keep_image:
            confirm(f"Remove the image {found.url}?", yes)
        removed = copies.remove(name, copy, keep_image=keep_image)
    note(f"removed {found.url}" if removed else f"forgot {found.url}; what is there stays")


def _row(report: CopyReport) -> tuple[str, ...]:
    copy = report.copy
    since = _from(copy) if copy.is_complete else ""
    good = "" if copy.good_from is None else str(copy.good_from)
    size = format_size(copy.size_bytes)
    why = report.reason
    if report.following is not None and report.following.reason not in ("", why):
        why = "; ".join(filter(None, (why, report.following.reason)))
    follows = following_text(report.following)
    return copy.id[:8], copy.volume, report.state, size, since, follows, good, copy.url, why


def _say_followed(lag: float) -> None:
    note(
        f"from now on it is brought on when it is {duration_text(lag)} behind: moments before that"
        " cannot be had from it; a second copy that does not follow keeps them"
    )


def _from(copy: VolumeCopy) -> str:
    return in_full(math.ceil(copy.made))
