"""The checks before a restoration, one function for each.

Each says what speaks against it, or what is taken away by it; most have nothing to say. Must never
stop, make or change anything; storage is asked in expendable children only.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from holdfast.adopted.adopt import MEMORY_TYPES
from holdfast.applications.freezers.freezing import frozen
from holdfast.applications.freezers.servers import Protection, ourselves, servers_below
from holdfast.applications.kernel_users import held_by_kernel
from holdfast.applications.rebind.handles.process_traits import gather
from holdfast.config import Settings
from holdfast.containers import image_behind, is_container_url, path_of
from holdfast.containers.trust import open_believed
from holdfast.errors import AlreadyExists, HoldfastError, HostCannot, Untrusted
from holdfast.model.finding import Finding, Verdict
from holdfast.model.handle import HandleKind, HandleVerdict
from holdfast.model.plan import Strategy
from holdfast.model.volume import GATED
from holdfast.mountpoints.obstacles import obstacles
from holdfast.mountpoints.overlays import about_nameless_layers
from holdfast.restoration.assessing.databases import databases_among
from holdfast.restoration.assessing.facts import ANSWER_SECONDS, Facts
from holdfast.restoration.assessing.history import about_history
from holdfast.restoration.assessing.images import about_filling, about_nameless, about_opening_again
from holdfast.restoration.assessing.inode_numbers import about_inode_numbers
from holdfast.restoration.assessing.not_kept import about_the_files, about_the_replaced
from holdfast.restoration.assessing.offers import about_offers
from holdfast.restoration.assessing.redundancy import (
    about_fstab_in_place,
    about_old_storage,
    about_redundancy,
    about_size,
    about_what_a_gate_keeps,
)
from holdfast.restoration.storage.carried import about_room
from holdfast.restoration.storage.origin import (
    about_mounts_below,
    origin_of_contents,
    origin_of_mount,
)
from holdfast.restoration.storage.swap_files import about_swaps, swaps_on
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.children.run import find_tool
from holdfast.system.storage.filesystem import kind_of
from holdfast.volumes.checks.foundation import file_systems_below, stands_on

_MOMENT_SECONDS = 0.3
"""An ordinary wait for a disk is over by then."""

Check = Callable[[Settings, Facts], Sequence[Finding]]


def check_everything(settings: Settings, facts: Facts) -> tuple[Finding, ...]:
    """What was found, in the order of CHECKS. Blocks some seconds where storage hangs."""
    return tuple(finding for check in CHECKS for finding in check(settings, facts))


def _condition(settings: Settings, facts: Facts) -> Sequence[Finding]:
    """Tell that the mount is broken; that is why we act, and keeps nobody from it."""
    if facts.health.is_ok:
        return ()
    told = facts.health.finding
    return [Finding(told.subject, Verdict.LIMITED, told.found, told.meaning, told.mend)]


def _mounts(settings: Settings, facts: Facts) -> Sequence[Finding]:
    return obstacles(facts.points, is_broken=facts.is_broken, parks_below=_goes_along(facts))


def _images(settings: Settings, facts: Facts) -> Sequence[Finding]:
    return (*about_filling(facts), *about_nameless(facts), *about_opening_again(facts))


def _freeze(settings: Settings, facts: Facts) -> Sequence[Finding]:
    name = facts.request.volume.name
    if frozen(settings.run_directory, name) is None:
        return ()
    return [
        Finding(
            "frozen", Verdict.BLOCKS, f"the users of {name} are frozen",
            "A frozen process cannot be moved: it must be able to run.", f"holdfast thaw {name}",
        )
    ]  # fmt: skip


def _handles(settings: Settings, facts: Facts) -> Sequence[Finding]:
    names = _names(facts)
    found = []
    for each in facts.judged:
        if each.verdict in (HandleVerdict.BLOCKS, HandleVerdict.LOST):
            blocks = each.verdict is HandleVerdict.BLOCKS
            found.append(
                Finding(
                    names.get(each.handle.pid, str(each.handle.pid)),
                    Verdict.BLOCKS if blocks else Verdict.NEEDS_FORCE,
                    f"{each.handle.kind} {each.handle.path}: {each.reason}",
                    "It cannot be moved." if blocks else "It would be lost.",
                    "End this process, or have it close the handle.",
                )
            )
    return found


def _waits(settings: Settings, facts: Facts) -> Sequence[Finding]:
    """Processes that wait in the kernel now, and still a moment later: nothing is begun then."""
    before = {
        each.handle.pid: each.waiting
        for each in facts.judged
        if each.verdict is not HandleVerdict.BLOCKS and each.waiting
    }
    if before:
        time.sleep(_MOMENT_SECONDS)
    names = _names(facts)
    found = []
    for pid, waiting in before.items():
        words, _, mend = gather(pid).waiting.partition(". ")
        if waiting.startswith(words) and words:
            meaning = "If it still does when all are to be stopped, all go on as before."
            found.append(Finding(names.get(pid, str(pid)), Verdict.LIMITED, words, meaning, mend))
    return found


def _protected_users(settings: Settings, facts: Facts) -> Sequence[Finding]:
    names = _names(facts)
    protection = Protection(servers_below(facts.points), ourselves())
    reasons = {user.pid: protection.reason(user.pid) for user in facts.users}
    return [
        Finding(
            names[pid], Verdict.BLOCKS, f"uses the volume and {reason}",
            "Stopping it would stop the volume itself, or the command.",
            "Let it use another volume; run the command from a shell outside of it.",
        )
        for pid, reason in reasons.items()
        if reason and reason != "has ended"
    ]  # fmt: skip


def _suspects(settings: Settings, facts: Facts) -> Sequence[Finding]:
    meaning = (
        "If it has mapped a file of this volume, it keeps what it has of the dead one."
        if facts.is_broken
        else "If it has mapped a file of this volume, the dismount is refused, and all go on as"
        " before."
    )
    return [
        Finding(
            f"{user.name} (process {user.pid})", Verdict.LIMITED,
            "its memory maps cannot be read in time: it hangs in the kernel, or has very many",
            f"Nothing else of it is on this volume, so it is left alone. {meaning}",
            "End what it waits for, or the process, where it uses this volume.",
        )
        for user in facts.suspects
    ]  # fmt: skip


def _names(facts: Facts) -> dict[int, str]:
    return {user.pid: f"{user.name} (process {user.pid})" for user in facts.users}


def _goes_along(facts: Facts) -> bool:
    """Whether what the kernel has of it is given back to it afterwards, as far as it can be."""
    return not facts.is_broken and facts.request.strategy is not Strategy.DETACH


def _kernel(settings: Settings, facts: Facts) -> Sequence[Finding]:
    swaps = swaps_on(facts.points) if _goes_along(facts) else []
    swap_paths = {each.path for each in swaps}
    named = [
        Finding(
            f"the kernel's {handle.kind}", Verdict.BLOCKS, handle.path,
            "It keeps the file system busy, and no process can be stopped for it.",
            "Let it go: losetup --detach, swapoff, umount.",
        )
        for handle in held_by_kernel(facts.points)
        if handle.kind is not HandleKind.MOUNT  # obstacles() has told of those
        if handle.kind is not HandleKind.SWAP or handle.path not in swap_paths
    ]  # fmt: skip
    return [*named, *about_swaps(swaps), *about_nameless_layers(facts.request.volume.mount.uuid)]


def _own_state(settings: Settings, facts: Facts) -> Sequence[Finding]:
    """Refuse when Holdfast's own state lies on what is dismounted."""
    devices = {point.device for point in facts.points}
    found = []
    for folder in (settings.state_directory, settings.run_directory):
        try:
            swap = not _goes_along(facts)  # else a swap file of the volume is off meanwhile
            ask = partial(file_systems_below, settings, str(folder), swap=swap)
            below = in_expendable_child(ask, ANSWER_SECONDS, str(folder))
        except (HoldfastError, OSError) as error:
            found.append(Finding(str(folder), Verdict.BLOCKS, f"cannot be examined: {error}"))
            continue
        if not devices.isdisjoint(below):
            found.append(
                Finding(
                    "Holdfast's own state", Verdict.BLOCKS, f"{folder} lies on this volume",
                    "What is parked could not be found again.", "Move it with HOLDFAST_HOME.",
                )
            )  # fmt: skip
    return found


def _room(settings: Settings, facts: Facts) -> Sequence[Finding]:
    if facts.is_dead:
        return ()
    return about_room(facts.carried, facts.users, str(settings.state_directory))


def _container(settings: Settings, facts: Facts) -> Sequence[Finding]:
    if facts.refusal is not None:
        words, mend = facts.refusal.message, facts.refusal.mend
        refused = facts.request.contents if facts.new is not None else facts.request.url
        if isinstance(facts.refusal, (AlreadyExists, HostCannot)):
            refused = facts.request.volume.name  # not the containers keep it from having a gate
        refused = facts.refusal.subject or refused
        return [Finding(refused or facts.request.contents, Verdict.BLOCKS, words, "", mend)]
    return facts.new.findings if facts.new is not None else ()


def _contents(settings: Settings, facts: Facts) -> Sequence[Finding]:
    """Refuse contents that would be read from the volume which they are to replace."""
    contents, volume = facts.request.contents, facts.request.volume
    if not contents or not (facts.is_dead or is_container_url(contents)):
        return ()  # a directory on a volume that answers is read before anybody is stopped
    if contents in (volume.adoption.source if volume.adoption else "", *volume.leg_urls):
        return [
            Finding(
                contents, Verdict.BLOCKS, f"is what {volume.name} shows now",
                "Nothing would change.", "Name others: --from DIRECTORY or --from CONTAINER.",
            )
        ]  # fmt: skip
    place = path_of(contents) if is_container_url(contents) else contents
    ask = partial(stands_on, settings, volume.name, volume.mount.path, place)
    try:
        words = in_expendable_child(ask, ANSWER_SECONDS, contents)
    except (HoldfastError, OSError) as error:
        return [Finding(contents, Verdict.BLOCKS, f"cannot be examined: {error}")]
    if not words:
        return _strangers_image(contents)
    return [
        Finding(
            contents, Verdict.BLOCKS, words, "It would be read from what it is to replace.",
            "Copy it to storage that does not stand on this volume.",
        )
    ]  # fmt: skip


def _redundancy(settings: Settings, facts: Facts) -> Sequence[Finding]:
    """Tell what the volume can lose afterwards, and where what it has now stays."""
    if facts.new is None:
        return ()
    old, new = facts.request.volume, facts.new.volume
    copied = [*about_size(old, new), *about_old_storage(old)] if facts.copies_files else []
    return [*about_redundancy(old, new, facts.request.legs_in_sync), *copied]


def _other_kind(settings: Settings, facts: Facts) -> Sequence[Finding]:
    """Refuse to give or take a gate where files cannot be read; tell what a gate does not keep."""
    volume, kind = facts.request.volume, facts.request.kind
    if kind in ("", volume.kind):
        return ()
    broken = "nothing can be read from it, so nothing can be copied" if facts.is_dead else ""
    if facts.is_broken and facts.request.in_place:
        broken = "it is broken, and no gate below its file system mends that"
    if broken:
        mend = f"holdfast restore {volume.name} mounts it anew."
        return [Finding("mount", Verdict.BLOCKS, broken, "", mend)]
    return about_what_a_gate_keeps(facts.points, volume.mount.path) if kind == GATED else ()


def _strangers_image(contents: str) -> Sequence[Finding]:
    """Tell of an image that others may write: they decide what root's mount makes of it."""
    image = image_behind(contents)
    if not image:
        return ()
    path = Path(image)
    try:
        in_expendable_child(
            lambda: os.close(open_believed(path, os.O_RDONLY)), ANSWER_SECONDS, contents
        )
    except Untrusted as error:
        return [
            Finding(
                contents, Verdict.NEEDS_FORCE, error.message,
                "Its owners, modes and programs would be believed.", error.mend,
            )
        ]  # fmt: skip
    except (HoldfastError, OSError):
        return ()  # the copy says better what is wrong with it
    return ()


def _fstab(settings: Settings, facts: Facts) -> Sequence[Finding]:
    if facts.request.in_place:
        return about_fstab_in_place(facts.request.volume, facts.request.kind)
    line = facts.request.volume.mount.fstab
    if facts.new is None or not line:
        return ()
    return [
        Finding(
            "fstab", Verdict.LIMITED, f"it says: {line}",
            "After a restart of the host the old storage would be mounted.",
            "Take that line out: holdfast volume attach --wanted mounts the new one at boot.",
        )
    ]  # fmt: skip


def _tools(settings: Settings, facts: Facts) -> Sequence[Finding]:
    if facts.new is None or facts.request.in_place:
        return ()
    return [
        Finding(tool, Verdict.BLOCKS, "is not installed", "", "holdfast doctor names its package.")
        for tool in kind_of(facts.new.volume.mount.filesystem).tool_names[:1]
        if find_tool(tool) is None
    ]


def _databases(settings: Settings, facts: Facts) -> Sequence[Finding]:
    return databases_among(facts.users) if facts.request.contents else ()


def _inode_numbers(settings: Settings, facts: Facts) -> Sequence[Finding]:
    copied = facts.copies_files
    if not copied and not facts.request.in_place:
        return ()
    return about_inode_numbers(facts.users, answers=not facts.is_dead, copied=copied)


def _properties(settings: Settings, facts: Facts) -> Sequence[Finding]:
    """Tell what the new file system will not have."""
    contents = facts.request.contents
    if not facts.copies_files or facts.new is None:
        return ()
    filesystem = facts.new.volume.mount.filesystem
    found = []
    if not facts.is_dead:
        present = origin_of_mount(facts.points[-1], facts.request.volume.mount.path)
        found += about_the_replaced(present, filesystem)
        found += about_the_files(present, filesystem) if not contents else []
        found += about_offers(present.filesystem, filesystem)
    if contents:
        try:
            origin = origin_of_contents(contents)
        except (HoldfastError, OSError) as error:
            return [Finding(contents, Verdict.BLOCKS, f"cannot be examined: {error}")]
        found += about_mounts_below(origin) + about_the_files(origin, filesystem)
    return list(dict.fromkeys(found))


def _memory(settings: Settings, facts: Facts) -> Sequence[Finding]:
    filesystem = facts.request.volume.mount.filesystem
    if filesystem not in MEMORY_TYPES:
        return ()
    return [
        Finding(
            "contents in memory", Verdict.BLOCKS,
            f"{filesystem} keeps its files in memory, and loses them with the dismount",
            "", "Copy them to another file system by hand.",
        )
    ]  # fmt: skip


CHECKS: tuple[Check, ...] = (
    _condition,
    _mounts,
    _images,
    _freeze,
    _handles,
    _waits,
    _suspects,
    _protected_users,
    _kernel,
    _own_state,
    _room,
    _container,
    _contents,
    lambda settings, facts: facts.request.source.findings,
    _redundancy,
    _other_kind,
    about_history,
    _fstab,
    _tools,
    _databases,
    _inode_numbers,
    _properties,
    _memory,
)
"""What is looked at, in the order in which it is told: a refusal names the first that blocks."""
