"""holdfast policy: what may happen to a volume while nobody is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.drilled import drill_words
from holdfast.cli.options import AsJson, VolumeName, parse_duration, positive_duration
from holdfast.cli.output import note, print_facts, print_json
from holdfast.cli.session import session
from holdfast.errors import InvalidOption
from holdfast.model.plan import Cause
from holdfast.model.policy import LOSSES, OnLoss, OnWorse
from holdfast.model.time_text import time_text

if TYPE_CHECKING:
    from holdfast.service.policies import PolicyReport

commands = typer.Typer(
    help="Say what may happen to a volume while nobody is there.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_AS_NOW = "as now"


@commands.command()
def show(name: VolumeName, as_json: AsJson = False) -> None:
    """Show a volume's policy, and what would happen by itself if its storage were lost now."""
    with session() as holdfast:
        found = holdfast.policies.show(name)
    _print(found, as_json)


@commands.command("set")
def set_policy(
    name: VolumeName,
    on_loss: Annotated[
        str | None,
        typer.Option(
            "--on-loss",
            metavar="WAY",
            help=f"{', '.join(OnLoss)}. Restoring puts contents of --from in its place; of a volume"
            " with a gate, a copy.",
            show_default=_AS_NOW,
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="URL",
            help='A container with the contents; with a gate a copy, "": the newest.',
            show_default=_AS_NOW,
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="URL",
            help='Container for them; "": an image beside the present one.',
            show_default=_AS_NOW,
        ),
    ] = None,
    causes: Annotated[
        list[str] | None,
        typer.Option(
            "--cause",
            metavar="KIND",
            help=f"{', '.join(LOSSES)}. What counts as a loss; repeatable.",
            show_default=_AS_NOW,
        ),
    ] = None,
    after: Annotated[
        float | None,
        typer.Option(
            "--after",
            metavar="TIME",
            parser=parse_duration,
            help="How long it must have been lost.",
            show_default=_AS_NOW,
        ),
    ] = None,
    oldest: Annotated[
        float | None,
        typer.Option(
            "--oldest",
            metavar="TIME",
            parser=parse_duration,
            help="Age beyond which contents are not taken; 0: any.",
            show_default=_AS_NOW,
        ),
    ] = None,
    deadline: Annotated[
        float | None,
        typer.Option(
            "--deadline",
            metavar="TIME",
            parser=positive_duration,
            help="When every process runs again, whatever has happened.",
            show_default=_AS_NOW,
        ),
    ] = None,
    pause: Annotated[
        float | None,
        typer.Option(
            "--pause",
            metavar="TIME",
            parser=positive_duration,
            help="Longest pause that may be predicted.",
            show_default=_AS_NOW,
        ),
    ] = None,
    on_worse: Annotated[
        str | None,
        typer.Option(
            "--on-worse",
            metavar="WAY",
            help=f"{', '.join(OnWorse)}. A leg that gets worse: replaced by a spare before it"
            " fails, or told only.",
            show_default=_AS_NOW,
        ),
    ] = None,
    quiet: Annotated[
        str | None,
        typer.Option(
            "--quiet",
            metavar="HOURS",
            help='Nothing that is not urgent happens then, e.g. "22:00-06:00" or "mon-fri'
            ' 20:00-07:00, sat-sun 00:00-24:00"; "": never.',
            show_default=_AS_NOW,
        ),
    ] = None,
    quiet_zone: Annotated[
        str | None,
        typer.Option(
            "--quiet-zone",
            metavar="ZONE",
            help='Time zone of --quiet, e.g. Europe/Berlin; "": that of the host.',
            show_default=_AS_NOW,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change a volume's policy, in use; what is not named stays. It may act again afterwards."""
    given: dict[str, Any] = {
        "on_loss": None if on_loss is None else _one_of(OnLoss, on_loss),
        "source": source,
        "target": target,
        "causes": tuple(_one_of(Cause, each) for each in causes) if causes else None,
        "after_seconds": after,
        "oldest_seconds": oldest,
        "deadline_seconds": deadline,
        "pause_seconds": pause,
        "on_worse": None if on_worse is None else _one_of(OnWorse, on_worse),
        "quiet": quiet,
        "quiet_zone": quiet_zone,
    }
    changes = {field: value for field, value in given.items() if value is not None}
    if not changes:
        raise InvalidOption("nothing was named", "holdfast policy set --help says what can be.")
    with session() as holdfast:
        found = holdfast.policies.set(name, **changes)
    _print(found, as_json)


def _one_of(kind: type[OnLoss | OnWorse | Cause], text: str) -> OnLoss | OnWorse | Cause:
    try:
        return kind(text)
    except ValueError:
        names = ", ".join(LOSSES if kind is Cause else kind)
        raise InvalidOption(f"{text!r} is none of {names}", f"Use one of {names}.") from None


def _print(found: PolicyReport, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    policy, attempt = found.policy, found.attempt
    pairs = [("volume", found.volume), ("on loss", str(policy.on_loss))]
    if found.has_gate and policy.on_loss is OnLoss.RESTORE:
        pairs += [
            ("from", policy.source or "its newest copy"),
            ("after", f"{policy.after_seconds:g} s"),
        ]
    elif policy.source:
        pairs += [
            ("from", policy.source),
            ("to", policy.target or "an image beside the present one"),
            ("causes", ", ".join(policy.causes)),
            ("after", f"{policy.after_seconds:g} s"),
            ("oldest", f"{policy.oldest_seconds / 3600:g} h" if policy.oldest_seconds else "any"),
            ("deadline", f"{policy.deadline_seconds:g} s"),
            ("pause", f"{policy.pause_seconds:g} s"),
        ]
    if found.has_gate:
        pairs.append(("on worse", str(policy.on_worse)))
    if policy.quiet:
        pairs.append(("quiet", str(policy.quiet_hours)))
    if attempt is not None:
        at = time_text(attempt.ended or attempt.began)
        words = f": {attempt.words}" if attempt.words else ""
        pairs.append((f"attempt {attempt.number}", f"{attempt.state}, {at}{words}"))
    if policy.source or found.last_drill is not None:
        pairs.append(("last drill", drill_words(found.last_drill, found.volume)))
    pairs.append(("unattended", f"{found.would}: {found.why}"))
    print_facts(pairs)
    if found.mend:
        note(f"mend: {found.mend}")
