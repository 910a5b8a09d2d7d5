"""holdfast volume: create, adopt, list, show, resize, attach, detach, delete, hold, release."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli.options import (
    AsJson,
    DryRun,
    SizeBytes,
    VolumeName,
    Yes,
    parse_duration,
    positive_duration,
)
from holdfast.cli.output import confirm, note, note_thin, print_json, say, steps
from holdfast.cli.session import session
from holdfast.cli.wanted import attach_wanted, detach_wanted
from holdfast.errors import InvalidOption, VolumeHeld
from holdfast.model.size import format_size, parse_size
from holdfast.model.time_text import time_text
from holdfast.model.trouble import troubles_of
from holdfast.model.volume import ADOPTED, DEFAULT_SECTOR_BYTES, JournalMode, check_name

commands = typer.Typer(help="Manage volumes.", no_args_is_help=True, rich_markup_mode=None)

LegUrls = Annotated[
    list[str] | None,
    typer.Option("--leg", metavar="URL", help="A container to keep the data in; repeatable."),
]
VolumeSize = Annotated[
    int, typer.Option("--size", metavar="SIZE", parser=parse_size, help="E.g. 2G.")
]
MountPath = Annotated[str, typer.Option("--mount", metavar="PATH", help="Where to mount it.")]
FileSystem = Annotated[str, typer.Option("--fs", metavar="TYPE", help="ext4, xfs or btrfs.")]
SpareUrls = Annotated[
    list[str] | None,
    typer.Option("--spare", metavar="URL", help="Taken in when a leg fails; repeatable."),
]
JournalChoice = Annotated[str, typer.Option("--journal", metavar="MODE", help="unflushed or none.")]
HoldTimeout = Annotated[
    float,
    typer.Option(
        "--hold-timeout",
        metavar="TIME",
        parser=parse_duration,
        help="How long requests wait when no leg is left; 0 = fail at once.",
        show_default="10m",
    ),
]
HangTimeout = Annotated[
    float,
    typer.Option(
        "--hang-timeout",
        metavar="TIME",
        parser=positive_duration,
        help="How old a request gets before its leg counts as hung.",
        show_default="5s",
    ),
]
MountOptions = Annotated[
    str, typer.Option("--options", metavar="LIST", help="Mount options, e.g. noatime.")
]
Label = Annotated[
    str | None, typer.Option("--label", help="File-system label; the name without it.")
]
SectorSize = Annotated[
    int,
    typer.Option(
        "--sector-size",
        help="Of its block device: 512 where programs write so little directly.",
    ),
]


@commands.command()
def create(
    name: VolumeName,
    size: VolumeSize,
    mount: MountPath,
    filesystem: FileSystem = "ext4",
    leg: LegUrls = None,
    spare: SpareUrls = None,
    journal: JournalChoice = JournalMode.UNFLUSHED.value,
    hold_timeout: HoldTimeout = 600.0,
    hang_timeout: HangTimeout = 5.0,
    options: MountOptions = "",
    label: Label = None,
    sector_size: SectorSize = DEFAULT_SECTOR_BYTES,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Create a volume, mount it and keep it attached.

    Without --leg the data lies in one image in Holdfast's state directory.
    """
    from holdfast.service import NewVolume, perform

    wanted = NewVolume(
        name=name,
        size_bytes=size,
        mount_path=mount,
        filesystem=filesystem,
        leg_urls=tuple(leg or ()),
        spare_urls=tuple(spare or ()),
        journal=journal,
        hold_timeout_seconds=hold_timeout,
        hang_timeout_seconds=hang_timeout,
        options=options,
        label=name if label is None else label,
        sector_bytes=sector_size,
    )
    with session() as holdfast:
        if dry_run:
            _print_intentions(holdfast.plan_create(wanted), as_json)
            return
        with steps(f"creating {name}") as reporter:
            report = perform(holdfast, wanted, reporter)
        thin = holdfast.thinness(name)
    if as_json:
        print_json(report)
    else:
        note(f"created {name}: {format_size(report.size_bytes)} {filesystem} at {report.mount}")
        note_thin(thin)


@commands.command()
def adopt(
    name: VolumeName,
    path: Annotated[str, typer.Argument(metavar="PATH", help="Where it is mounted.")],
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Manage a mount that is there already. Nothing of it is changed, nothing gets in its way."""
    with session() as holdfast:
        if dry_run:
            _print_intentions(holdfast.plan_adopt(name, path), as_json)
            return
        report = holdfast.adopt_volume(name, path)
        limits = holdfast.limits(name)
    if as_json:
        print_json(report)
        return
    note(f"adopted {name}: {report.filesystem} from {report.source} at {report.mount}")
    for finding in limits:
        note(f"note: {finding.found}. {finding.meaning}")


@commands.command("list")
def list_volumes(as_json: AsJson = False) -> None:
    """List the volumes of this host."""
    from holdfast.cli.views import print_volumes

    with session() as holdfast:
        reports = holdfast.list_volumes()
    if as_json:
        print_json(reports)
    elif reports:
        print_volumes(reports)
    else:
        note("There are no volumes yet: holdfast volume create --help")


@commands.command()
def show(name: VolumeName, as_json: AsJson = False) -> None:
    """Show one volume with its legs and its gate."""
    from holdfast.cli.views import print_volume

    with session() as holdfast:
        report = holdfast.show_volume(name)
    if as_json:
        print_json(report)
    else:
        print_volume(report)


@commands.command()
def resize(name: VolumeName, size: SizeBytes, dry_run: DryRun = False) -> None:
    """Enlarge a volume while it is in use: its legs, then its file system."""
    from holdfast.service import ResizeRequest, perform

    with session() as holdfast:
        if dry_run:
            _print_intentions(holdfast.plan_resize(name, size), False)
            return
        with steps(f"enlarging {name}") as reporter:
            report = perform(holdfast, ResizeRequest(name, size), reporter)
        thin = holdfast.thinness(name)
    note(f"{name} has {format_size(report.size_bytes)} now")
    note_thin(thin)


@commands.command()
def attach(
    name: Annotated[str | None, typer.Argument(help="The volume's name.")] = None,
    leg: LegUrls = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Accept that a leg that is away may hold newer data."),
    ] = False,
    wanted: Annotated[
        bool,
        typer.Option("--wanted", help="Every volume that was not detached on purpose: at boot."),
    ] = False,
    mount: Annotated[
        str, typer.Option(help="Where, for a volume that only its superblocks describe.")
    ] = "",
    options: Annotated[
        str | None, typer.Option(help="How, for such a volume.", show_default="nosuid,nodev")
    ] = None,
) -> None:
    """Attach and mount a volume, also after a reboot or a crash.

    With --leg it is found from its legs' superblocks, when the catalog was lost or the legs come
    from another host; --mount then says where, because an image may have been made by anybody.
    Attaching an attached volume changes nothing.
    """
    if wanted == (name is not None):
        raise InvalidOption("name one volume, or say --wanted", "holdfast volume list names them.")
    if name is None:
        attach_wanted(force)
        return
    from holdfast.service import AttachRequest, MountRequest, perform

    where = MountRequest(mount, options)
    request = AttachRequest(name, tuple(leg or ()), force, where)
    with session() as holdfast, steps(f"attaching {name}") as reporter:
        report = perform(holdfast, request, reporter)
    note(f"{name} is {report.state} at {report.mount}")


@commands.command()
def detach(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", parser=check_name, help="Name of the volume."),
    ] = None,
    park: Annotated[
        float | None,
        typer.Option(
            "--park",
            metavar="TIME",
            parser=positive_duration,
            help="Adopted volumes: let running users wait so long for attach.",
        ),
    ] = None,
    wanted: Annotated[
        bool,
        typer.Option(
            "--wanted", help="Every volume with a gate, until the next start: at its end."
        ),
    ] = False,
) -> None:
    """Dismount a volume and stop its gate; the data stays in its legs.

    With --park the users of an adopted volume wait, with everything they have open, until it is
    attached again; when the time has passed they go on with errors in place of their files.
    """
    if wanted == (name is not None) or (wanted and park is not None):
        raise InvalidOption("name one volume, or say --wanted", "holdfast volume list names them.")
    if name is None:
        detach_wanted()
        return
    from holdfast.service import DetachRequest, perform

    with session() as holdfast, steps(f"detaching {name}") as reporter:
        perform(holdfast, DetachRequest(name, park), reporter)
    note(f"{name} is detached")
    if park is not None:
        note(f"its users wait at most {park:g} s: holdfast volume attach {name}")


@commands.command()
def delete(
    name: VolumeName,
    keep_images: Annotated[
        bool, typer.Option("--keep-images", help="Leave the image files where they are.")
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Delete a volume and its data: image files are removed, block devices only released.

    An adopted volume is only forgotten: its mount and its data stay.
    """
    from holdfast.service import DeleteRequest, perform

    with session() as holdfast:
        intentions = holdfast.plan_delete(name, keep_images)
        report = holdfast.show_volume(name)
        adopted = report.kind == ADOPTED
        if dry_run:
            _print_intentions(intentions, False)
            return
        what = "keeping its images" if keep_images else "and all its data"
        confirm(f"Forget {name}?" if adopted else f"Delete {name} {what}?", yes)
        with steps(f"deleting {name}") as reporter:
            left = perform(holdfast, DeleteRequest(name, keep_images), reporter)
    for sentence in left:
        note(f"warning: {sentence}")
    stays = f": it stays as it is{f', on {report.source}' if report.source else ''}"
    note(f"forgot {name}{stays}" if adopted else f"deleted {name}")


@commands.command()
def hold(
    name: VolumeName,
    seconds: Annotated[
        float | None,
        typer.Option(
            "--for",
            metavar="TIME",
            parser=positive_duration,
            help="Release by itself after that time; otherwise after the volume's hold time-out.",
        ),
    ] = None,
    reason: Annotated[
        str, typer.Option("--reason", help="Shown by status and on the receipt.")
    ] = "asked for by the administrator",
) -> None:
    """Withhold the volume's requests: its applications wait, and get no error."""
    with session() as holdfast:
        report = holdfast.hold(name, seconds, reason)
    deadline = report.gate.hold_deadline if report.gate else None
    until = f" until {time_text(deadline)} UTC at the latest" if deadline else ""
    note(f"{name} is held{until}: holdfast volume release {name}")


@commands.command()
def release(name: VolumeName) -> None:
    """Let the withheld requests go on. An error where they wait for storage as well."""
    with session() as holdfast:
        report = holdfast.release(name)
    if report.gate is not None and report.gate.held:
        raise VolumeHeld(
            f"{name} stays held: {report.reason or report.gate.hold_reason}",
            next((each.mend for each in troubles_of(report) if each.mend), ""),
        )
    note(f"{name} is released")


@commands.command(name="restart-gate")
def restart_gate(name: VolumeName) -> None:
    """Move a gate in use to the installed version: after an upgrade."""
    with session() as holdfast:
        report = holdfast.restart_gate(name)
    version = report.gate.version if report.gate else "unknown"
    note(f"the gate of {name} runs version {version}")


def _print_intentions(intentions: tuple[str, ...], as_json: bool) -> None:
    if as_json:
        print_json({"dry_run": True, "would": intentions})
        return
    say("Would, in this order:")
    for intention in intentions:
        say(f"  {intention}")
