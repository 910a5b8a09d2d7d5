"""Volumes that are found and not made: from their superblocks, or by the gate that runs.

Owns the rules by which one of them enters the catalog. Must never take from an image where or how
it is mounted: whoever made the image wrote that.
"""

from __future__ import annotations

from dataclasses import replace

from holdfast.errors import AlreadyExists, NoSuchVolume
from holdfast.gate.processes.remains import living_processes
from holdfast.model.volume import MountProperties, Volume
from holdfast.service.host import Host
from holdfast.service.requests import MountRequest, check_mount_request
from holdfast.volumes.checks.new_volume import check_mount_place
from holdfast.volumes.running import running_volume


def refuse_running(host: Host, name: str) -> None:
    """Raise AlreadyExists for a name whose gate runs, although the catalog does not know it."""
    if host.knows(name):
        return
    run_directory = host.settings.gate_run_directory(name)
    if living_processes(run_directory) or running_volume(host.settings, name):
        raise AlreadyExists(
            f"the gate of a volume named {name!r} runs, which the catalog does not know",
            "holdfast recover enters it into the catalog again.",
        )


def enter(host: Host, found: Volume) -> None:
    """Put a volume that was found into the catalog. Raises AlreadyExists."""
    try:
        known = host.catalog.volume(found.name)
    except NoSuchVolume:
        host.catalog.add(found)
        return
    if known.id != found.id:
        raise _another(found.name)
    host.catalog.update(found)


def mount_of_found(host: Host, request: MountRequest, found: Volume, ours: bool) -> MountProperties:
    """How to mount a volume that was found from its superblocks, and where.

    As recorded on this host, else as the administrator says: never as an image says. `ours`: its
    state directory is on this host. Raises AlreadyExists, InvalidOption, HoldsData.
    """
    others = host.catalog.volumes()
    known = next((other for other in others if other.name == found.name), None)
    if known is not None or ours:
        recorded = known or found
        if known is not None and known.id != found.id:
            raise _another(found.name)
        if request.is_given:
            check_mount_request(request, recorded)
        return recorded.mount
    wanted = replace(found, mount=request.applied_to(found))
    place = check_mount_place(host.settings, wanted, others)
    return replace(wanted.mount, path=place.path)


def _another(name: str) -> AlreadyExists:
    return AlreadyExists(
        f"there is another volume named {name!r} already",
        "Delete that one, or attach the legs on another host.",
    )
