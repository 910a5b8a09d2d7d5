"""holdfast drill: find out whether a volume could be restored; rehearse a failure of it in use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.options import AsJson, VolumeName, Yes, positive_duration
from holdfast.cli.output import confirm, note, print_json, stepped_progress, steps
from holdfast.cli.session import session
from holdfast.errors import InvalidOption
from holdfast.model.drill import WORKED

if TYPE_CHECKING:
    from holdfast.model.receipt import Receipt
    from holdfast.service import DrillRequest

WOULD_NOT_HAVE_WORKED = 1
"""Exit status, as docs/exit-status.md has it."""

_CHECK_SECONDS = 600.0
"""As service.drilling.CHECK_SECONDS."""


AtMoment = Annotated[
    str,
    typer.Option(
        "--at", metavar="WHEN", help="As it was at a moment, as clone takes it.", show_default="now"
    ),
]
FromSource = Annotated[
    str,
    typer.Option(
        "--from",
        metavar="SOURCE",
        help="A directory or a container; what its policy names without it.",
    ),
]
ToContainer = Annotated[
    str, typer.Option("--to", metavar="URL", help="Where restore would put them.")
]
CheckProgram = Annotated[
    str,
    typer.Option(
        "--check",
        metavar="COMMAND",
        help="A program of root's that looks at them, in HOLDFAST_DRILL_PATH.",
    ),
]
CheckTime = Annotated[
    float,
    typer.Option(
        "--within",
        metavar="TIME",
        parser=positive_duration,
        help="When the check is ended, with all that it began.",
        show_default="10m",
    ),
]
MadeImage = Annotated[
    str,
    typer.Option(
        "--image", metavar="URL", help="The image that is made; beside the copy without it."
    ),
]
Every = Annotated[
    str | None,
    typer.Option(
        "--every", metavar="TIME", help="Not now, but by the daemon, so often; off: no more."
    ),
]
Live = Annotated[
    bool,
    typer.Option("--live", help="Instead: fail parts of the gate in use, and see who waits."),
]
DownToOneLeg = Annotated[
    bool,
    typer.Option(
        "--down-to-one-leg", help="With --live: one of two legs, too; the other is alone then."
    ),
]
ToldAlert = Annotated[
    bool,
    typer.Option("--alert", help="Instead: a made-up trouble, for all who are told of one."),
]
FaultKind = Annotated[
    str,
    typer.Option(
        "--fault",
        metavar="KIND",
        help="leg-eio, leg-hang, leg-gone, worker-kill. Instead: of it in use.",
    ),
]
FaultLeg = Annotated[
    str | None,
    typer.Option("--leg", metavar="LEG", help="Of a fault: which one; the first without it."),
]
FaultTime = Annotated[
    float,
    typer.Option(
        "--for",
        metavar="TIME",
        parser=positive_duration,
        help="How long the fault lasts.",
        show_default="10s",
    ),
]


def drill(
    name: VolumeName,
    at: AtMoment = "",
    contents: FromSource = "",
    to: ToContainer = "",
    check: CheckProgram = "",
    within: CheckTime = _CHECK_SECONDS,
    image: MadeImage = "",
    every: Every = None,
    live: Live = False,
    down_to_one_leg: DownToOneLeg = False,
    alert: ToldAlert = False,
    fault: FaultKind = "",
    leg: FaultLeg = None,
    seconds: FaultTime = 10.0,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Find out whether a volume could be restored, before it has to be.

    Its contents as they would be restored are made beside it, mounted where nobody sees them,
    checked and removed again. The volume is not touched. Status 1 when a restoration would not have
    worked; the receipt has what each part took, and what was expected.

    With --live, and a yes, the worker of its gate is killed in use, and a leg fails and comes back
    where others are left: how long does whoever writes wait? With --fault one failure is rehearsed:
    a leg returns errors, hangs or is gone, or the gate's worker is killed. Nothing is lost.
    """
    of_contents = bool(at or contents or to or check or image or every is not None)
    _check_apart(
        live + alert + bool(fault), of_contents=of_contents, of_live=down_to_one_leg and not live
    )
    if live:
        _live(name, down_to_one_leg=down_to_one_leg, yes=yes, as_json=as_json)
    elif alert:
        _alert(name, as_json=as_json)
    elif fault:
        with session() as holdfast:
            holdfast.legs.drill(name, fault, seconds=seconds, leg=leg)
        note(f"{fault} on {name}: holdfast status --watch, then holdfast receipt list {name}")
    elif leg is not None:
        raise InvalidOption("--leg is that of a fault", "Add --fault KIND.")
    else:
        from holdfast.service import DrillRequest

        _contents(DrillRequest(name, at, contents, to, check, within, image), every, as_json)


def _check_apart(others: int, *, of_contents: bool, of_live: bool) -> None:
    """Raise InvalidOption for what does not go together. `others`: how many drills of their own."""
    if others > 1 or (others and of_contents):
        raise InvalidOption(
            "--live, --alert and --fault are drills of their own, not of contents",
            "Leave the others out.",
        )
    if of_live:
        raise InvalidOption("--down-to-one-leg is that of --live", "Add --live.")


def _contents(request: DrillRequest, every: str | None, as_json: bool) -> None:
    from holdfast.service import perform

    if every is not None:
        _schedule(request, every)
        return
    with session() as holdfast, stepped_progress(f"drill of {request.volume}") as reporter:
        receipt = perform(holdfast, request, reporter)
    _show(receipt, as_json)


def _schedule(request: DrillRequest, every: str) -> None:
    from holdfast.policy.watching import watcher
    from holdfast.service.drills import schedule_drill

    seconds = None if every.strip().lower() == "off" else positive_duration(every)
    with session() as holdfast:
        schedule_drill(holdfast, request, seconds)
        watched = watcher(holdfast.settings.run_directory)
    if seconds is None:
        note(f"{request.volume} has no drill by itself any more")
        return
    note(f"{request.volume} has this drill every {every}, begun when the host is quiet")
    if not watched:
        note("warning: no daemon runs that would begin it: systemctl start holdfast-daemon")


def _live(name: str, *, down_to_one_leg: bool, yes: bool, as_json: bool) -> None:
    from holdfast.service import LiveDrillRequest, perform
    from holdfast.service.live_drills import plan_live

    request = LiveDrillRequest(name, down_to_one_leg)
    with session() as holdfast:
        planned = "; ".join(plan_live(holdfast, request))
        confirm(f"Do this on {name}, in use: {planned}?", yes)
        with stepped_progress(f"live drill of {name}") as reporter:
            receipt = perform(holdfast, request, reporter)
    _show(receipt, as_json)


def _alert(name: str, *, as_json: bool) -> None:
    from holdfast.service import AlertDrillRequest, perform

    with session() as holdfast, steps(f"drill of who is told of {name}") as reporter:
        receipt = perform(holdfast, AlertDrillRequest(name), reporter)
    _show(receipt, as_json)


def _show(receipt: Receipt, as_json: bool) -> None:
    """How it went; the exit status says it, too."""
    from holdfast.cli.drilled import print_drill

    if as_json:
        print_json(receipt.as_json())
    else:
        print_drill(receipt)
        note(f"holdfast receipt show {receipt.id[:8]}")
    if not receipt.outcome.startswith(WORKED):
        raise typer.Exit(WOULD_NOT_HAVE_WORKED)
