"""holdfast doctor: what this host can and cannot do, and the mend."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from holdfast.cli.options import AsJson
from holdfast.cli.output import console, print_json
from holdfast.cli.session import session
from holdfast.errors import HostCannot
from holdfast.model.finding import Verdict
from holdfast.system.messages.printable import printable

if TYPE_CHECKING:
    from holdfast.model.finding import Finding


def doctor(as_json: AsJson = False) -> None:
    """Say what this host can and cannot do, and the mend.

    Exit status 5 when something that Holdfast needs is missing.
    """
    with session() as holdfast:
        findings = holdfast.doctor()
    missing = sum(finding.verdict is Verdict.MISSING for finding in findings)
    if as_json:
        listed = [finding.as_json() for finding in findings]
        print_json({"sufficient": not missing, "findings": listed})
    else:
        _print(findings, missing)
    if missing:
        raise typer.Exit(HostCannot.exit_status)


def _print(findings: list[Finding], missing: int) -> None:
    out = console()
    for finding in findings:
        mark = f"{finding.verdict:<8}"
        style = {"ok": "green", "limited": "yellow", "missing": "bold red"}[finding.verdict]
        out.print(mark, style=style, end="")
        out.print(printable(f"{finding.subject}: {finding.found}"))
        for line in (finding.meaning, finding.mend and f"mend: {finding.mend}"):
            if line:
                out.print(f"        {printable(line)}", style="dim")
    limited = sum(finding.verdict is Verdict.LIMITED for finding in findings)
    end = "Holdfast works here" if not missing else f"Holdfast cannot work here: {missing} missing"
    out.print(f"\n{end}{f', {limited} limits' if limited else ''}.")
