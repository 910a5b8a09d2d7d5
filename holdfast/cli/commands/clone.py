"""holdfast clone: a volume as it was at a moment, beside it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from holdfast.cli.options import AsJson, DryRun, VolumeName
from holdfast.cli.output import note, print_facts, print_json, stepped_progress
from holdfast.cli.past_moment import settled
from holdfast.cli.session import session
from holdfast.errors import InvalidOption
from holdfast.model.size import format_size
from holdfast.model.volume import check_name


def clone(
    name: VolumeName,
    new: Annotated[
        str, typer.Argument(metavar="NEW", parser=check_name, help="Name of the new volume.")
    ],
    at: Annotated[
        str,
        typer.Option(
            "--at",
            metavar="WHEN",
            help="10m ago, 14:02:06, yesterday 14:02:06, 2026-11-28 14:02:06, position:NUMBER,"
            " before PATH vanished.",
        ),
    ],
    mount: Annotated[str, typer.Option("--mount", metavar="PATH", help="Where it is mounted.")],
    image: Annotated[
        str, typer.Option("--image", metavar="URL", help="Its image; beside the copy without it.")
    ] = "",
    into: Annotated[
        str,
        typer.Option(
            "--into",
            metavar="URL",
            help="In use at once: a gated volume, filled into that container meanwhile.",
        ),
    ] = "",
    wait: Annotated[
        bool, typer.Option("--wait", help="With --into: until that container has everything.")
    ] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Mount a volume as it was at a moment, from a copy and its history.

    The volume itself is not touched. What is made is a volume of its own, writable: adopted, or
    with --into gated, which reads from the copy until its container has everything.
    """
    if wait and not into:
        raise InvalidOption("--wait waits for what --into fills", "Add --into URL.")
    with session() as holdfast:
        clones = holdfast.histories.clones
        at = settled(holdfast, name, at)
        if not dry_run:
            with stepped_progress(f"cloning {name}") as reporter:
                report = clones.make(name, new, at, mount, image, reporter, into)
            if wait:
                with stepped_progress(f"filling {new}") as reporter:
                    report = holdfast.histories.filled_clones.wait(name, new, reporter.percent)
            if as_json:
                print_json(report)
            note(f"{name} as it was is mounted at {report.mount}, as {new}")
            if into and not wait:
                note(f"{into} is being filled: holdfast volume show {new}")
            return
        with stepped_progress(f"looking for {at}") as reporter:
            plan = clones.plan(name, new, at, mount, image, reporter, into)
    if as_json:
        print_json(plan.as_json())
        return
    written = ""
    if plan.written is not None:
        written = datetime.fromtimestamp(plan.written).astimezone().isoformat(" ", "milliseconds")
    print_facts(
        [
            ("position", str(plan.position)),
            ("last write", written or "none since the copy was made"),
            ("from the copy", plan.copy.url),
            ("and history", format_size(plan.history_bytes)),
            ("image", plan.url),
            *([("filled into", plan.into)] if plan.into else []),
            ("mounted at", plan.mount_path),
        ]
    )
