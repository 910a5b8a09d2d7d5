"""What is done to every volume when a host starts, and when it ends: holdfast.service."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from holdfast.cli.output import note, print_error, steps
from holdfast.cli.session import session
from holdfast.errors import HoldfastError
from holdfast.model.volume import ADOPTED, VolumeState

if TYPE_CHECKING:
    from holdfast.service import Holdfast


def attach_wanted(force: bool) -> None:
    """Attach all that should be; one that cannot be does not keep the others from it."""
    from holdfast.service import AttachRequest, perform

    def attach_one(holdfast: Holdfast, name: str) -> None:
        with steps(f"attaching {name}") as reporter:
            report = perform(holdfast, AttachRequest(name, forced=force), reporter)
        note(f"{name} is {report.state} at {report.mount}")

    with session() as holdfast:
        _do_each(attach_one, holdfast, holdfast.wanted_volumes())


def detach_wanted() -> None:
    """Detach every volume with a gate that is attached; an adopted mount is its host's own."""
    from holdfast.service import DetachRequest, perform

    def detach_one(holdfast: Holdfast, name: str) -> None:
        with steps(f"detaching {name}") as reporter:
            perform(holdfast, DetachRequest(name, stays_wanted=True), reporter)
        note(f"{name} is detached until the next start")

    with session() as holdfast:
        gated = [each for each in holdfast.list_volumes() if each.kind != ADOPTED and each.wanted]
        attached = [each.name for each in gated if each.state != VolumeState.DETACHED]
        _do_each(detach_one, holdfast, attached)


def _do_each(do: Callable[[Holdfast, str], None], holdfast: Holdfast, names: Sequence[str]) -> None:
    """For each volume, whatever becomes of the others. Raises the last error, prints the others."""
    failed: list[HoldfastError] = []
    for name in names:
        try:
            do(holdfast, name)
        except HoldfastError as error:
            error.message = f"{name}: {error.message}"
            failed.append(error)
    for earlier in failed[:-1]:
        print_error(earlier)
    if failed:
        raise failed[-1]
