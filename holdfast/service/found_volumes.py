"""Volumes that are found and not made: from their superblocks, or by the gate that runs.

Owns the rules by which one of them enters the catalog. Must never take from an image where or how
it is mounted: whoever made the image wrote that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from holdfast.containers import parse_container_url
from holdfast.errors import AlreadyExists, NoSuchVolume
from holdfast.gate.outside.launch import gate_is_running
from holdfast.gate.processes.remains import living_processes
from holdfast.model.volume import MountProperties, Volume
from holdfast.service.host import Host
from holdfast.service.requests import MountRequest, check_mount_request
from holdfast.volumes.attach import rebuild_volume
from holdfast.volumes.checks.new_volume import check_mount_place
from holdfast.volumes.running import running_volume, running_volumes


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


def make_known(host: Host, name: str, leg_urls: Sequence[str], mount: MountRequest) -> None:
    """Make sure that the catalog has a volume whose gate runs, or that these legs describe.

    `mount`: where to mount one that is found from its superblocks; it may not contradict what this
    host has recorded. Saves such a volume's gate state. Raises HasNoGate for legs of an adopted
    volume, AlreadyExists, and what `rebuild_volume` and `_mount_of` raise.
    """
    if leg_urls:
        host.refuse_adopted(name)
    running = None if host.knows(name) else running_volume(host.settings, name)
    if running is not None:
        _enter(host, running)
    elif leg_urls and not gate_is_running(host.settings.gate_run_directory(name)):
        urls = tuple(str(parse_container_url(url)) for url in leg_urls)
        mounted = partial(_mount_of, host, mount)
        _enter(host, rebuild_volume(host.settings, name, urls, mounted))
    elif mount.is_given:
        check_mount_request(mount, host.catalog.volume(name))


def enter_running(host: Host) -> list[str]:
    """Put every volume whose gate runs into the catalog; what was done, in words."""
    done = []
    known = {volume.name for volume in host.catalog.volumes()}
    for volume in running_volumes(host.settings, known):
        _enter(host, volume)
        done.append(f"entered {volume.name}, whose gate runs, into the catalog again")
    return done


def _enter(host: Host, found: Volume) -> None:
    """Put a volume that was found into the catalog. Raises AlreadyExists."""
    try:
        known = host.catalog.volume(found.name)
    except NoSuchVolume:
        host.catalog.add(found)
        return
    if known.id != found.id:
        raise _another(found.name)
    host.catalog.update(found)


def _mount_of(host: Host, request: MountRequest, found: Volume, ours: bool) -> MountProperties:
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
