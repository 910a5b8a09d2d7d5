"""holdfast assess: what a restoration would do, and what is in its way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.options import AsJson, VolumeName, positive_duration
from holdfast.cli.output import note, print_facts, print_json, print_table
from holdfast.cli.session import session
from holdfast.errors import Blocked, InvalidOption
from holdfast.model.plan import Strategy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.model.finding import Finding
    from holdfast.restoration.assessing.assess import Assessment

Deadline = Annotated[
    float,
    typer.Option(
        "--deadline",
        metavar="TIME",
        parser=positive_duration,
        help="When every process runs again, whatever has happened.",
        show_default="60s",
    ),
]
OtherFileSystem = Annotated[
    str, typer.Option("--fs", metavar="TYPE", help="ext4, xfs or btrfs; as now without it.")
]
Force = Annotated[bool, typer.Option("--force", help="Also where a finding says that it needs it.")]


def assess(
    name: VolumeName,
    strategy: Annotated[
        str | None,
        typer.Option(
            "--for",
            metavar="STRATEGY",
            help=f"{', '.join(each for each in Strategy if each is not Strategy.REFUSE)}.",
        ),
    ] = None,
    url: Annotated[str, typer.Option("--to", metavar="URL", help="A container to move to.")] = "",
    filesystem: Annotated[
        str, typer.Option("--fs", metavar="TYPE", help="The type of file system in it.")
    ] = "",
    contents: Annotated[
        str, typer.Option("--from", metavar="SOURCE", help="A directory or container.")
    ] = "",
    deadline: Deadline = 60.0,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Assess whether storage can be replaced under its users, and say why not.

    Nothing is touched. Exit status 3 when it would be refused.
    """
    from holdfast.service import AssessRequest

    request = AssessRequest(
        name,
        _strategy(strategy),
        urls=(url,) if url else (),
        filesystem=filesystem,
        contents=contents,
        deadline_seconds=deadline,
        forced=force,
    )
    with session() as holdfast:
        found = holdfast.restorations.assess(request)
    if as_json:
        print_json(found.as_json())
    else:
        print_assessment(found)
    if found.plan.refuses:
        raise typer.Exit(Blocked.exit_status)


def _strategy(text: str | None) -> Strategy | None:
    if text is None:
        return None
    try:
        return Strategy(text)
    except ValueError:
        names = ", ".join(each for each in Strategy if each is not Strategy.REFUSE)
        raise InvalidOption(f"{text!r} is no strategy", f"Use {names}.") from None


def _found(found: str, meaning: str) -> str:
    return f"{found.removesuffix('.')}. {meaning}" if meaning else found


def print_findings(findings: Sequence[Finding]) -> None:
    """Findings as a table; what does not fit beside the verdict stands below it, to be copied."""
    rows = [
        (each.subject, str(each.verdict), _found(each.found, each.meaning), each.mend)
        for each in findings
    ]
    print_table(("finding", "verdict", "found", "mend"), rows, below=("mend", "found"))


def print_assessment(found: Assessment) -> None:
    """Findings, users and steps."""
    plan = found.plan
    pairs = [
        ("volume", plan.volume),
        ("strategy", str(plan.strategy)),
        ("cause", str(plan.cause)),
        ("because", plan.reason),
    ]
    if plan.steps:
        more = " and the end of the copy" if found.facts.copies_files else ""
        pairs.append(("predicted pause", f"{plan.predicted_pause_seconds:.1f} s{more}"))
        pairs.append(("deadline", f"{plan.deadline_seconds:g} s"))
    print_facts(pairs)
    if plan.findings:
        print()
        print_findings(plan.findings)
    if found.verdicts:
        print()
        names = {user.pid: user.name for user in found.facts.users}
        columns = ("pid", "process", "moved", "recreated", "lost", "blocks")
        print_table(
            columns,
            [
                (
                    str(pid),
                    names.get(pid, ""),
                    *(str(counts.get(column, 0)) for column in columns[2:]),
                )
                for pid, counts in found.verdicts.items()
            ],
            right=("pid", *columns[2:]),
        )
    if plan.steps:
        print()
        steps = [
            (str(number), str(step.name), step.words) for number, step in enumerate(plan.steps, 1)
        ]
        print_table(("#", "step", "what it will do"), steps, right=("#",))
    elif plan.refuses:
        note("nothing would be touched")
