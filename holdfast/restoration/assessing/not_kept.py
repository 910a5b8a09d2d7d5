"""Properties of a file system that a copy does not keep, as far as they show beforehand.

Names only what is in use, or was switched on by somebody: options of the mount, features that no
mkfs sets by itself, subvolumes. What each file has (flags, project ids, shared extents) is counted
while it is copied, and put in words here for the receipt. Must never touch storage but through
commands with deadlines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from holdfast.errors import HoldfastError
from holdfast.model.finding import Finding, Verdict
from holdfast.model.size import format_size
from holdfast.restoration.copying.losses import SHARED_BYTES, SHARED_FILES
from holdfast.restoration.storage.origin import Origin
from holdfast.system.children.run import run
from holdfast.system.storage.filesystem import has_quota_groups

_Looks = Mapping[str, tuple[Callable[[Origin, str], list[Finding]], ...]]

_ANSWER_SECONDS = 5.0
_QUOTA_OPTIONS = frozenset(
    {"usrquota", "grpquota", "prjquota", "usrjquota", "grpjquota"}
    | {"uqnoenforce", "gqnoenforce", "pqnoenforce"}
)
"""As /proc/self/mounts shows them: ext4(5), xfs(5)."""
_PROJECT_OPTIONS = frozenset({"prjquota", "pqnoenforce"})
_COMPRESSION_OPTIONS = frozenset({"compress", "compress-force"})


def about_the_files(origin: Origin, filesystem: str) -> list[Finding]:
    """What files lose on their way to a new file system of this type; asks the storage.

    Blocks some seconds where that hangs: what cannot be asked is said.
    """
    return _looked(_OF_FILES, origin, filesystem)


def about_the_replaced(present: Origin, filesystem: str) -> list[Finding]:
    """What the present file system is set up for and a new one in its place is not; as above."""
    return _looked(_OF_THE_WHOLE, present, filesystem)


def _looked(looks: _Looks, origin: Origin, filesystem: str) -> list[Finding]:
    found = []
    for look in looks.get(origin.filesystem, ()):
        try:
            found += look(origin, filesystem)
        except (HoldfastError, OSError) as error:
            found.append(
                Finding(
                    f"properties of {origin.filesystem}",
                    Verdict.LIMITED,
                    f"could not be examined: {error}",
                    "What the copy does not keep of it is not known, and told afterwards.",
                )
            )
    return found


def in_words(not_kept: Mapping[str, int]) -> Finding:
    """What the copy has been found to lack, for its receipt. Pure."""
    counts = dict(not_kept)
    files, shared = counts.pop(SHARED_FILES, 0), counts.pop(SHARED_BYTES, 0)
    words = [f"{what}: {count}" for what, count in counts.items()]
    if files:
        words.append(f"{format_size(shared)} that {files} files shared with others")
    return Finding(
        "not kept by the copy",
        Verdict.LIMITED,
        ", ".join(words),
        "The new file system has none of it; the old container has everything.",
    )


def _quota(origin: Origin, filesystem: str) -> list[Finding]:
    words = origin.options_among(_QUOTA_OPTIONS)
    return [_limits_of_quota(", ".join(words))] if words else []


def _limits_of_quota(found: str) -> Finding:
    return Finding(
        "quota",
        Verdict.LIMITED,
        found,
        "Limits belong to the file system and are not copied: on the new one there are none.",
        "Write them down before, set them again afterwards: repquota and setquota, xfs_quota,"
        " btrfs qgroup.",
    )


def _projects(origin: Origin, filesystem: str) -> list[Finding]:
    words = origin.options_among(_PROJECT_OPTIONS)
    return [_project_ids(words[0], filesystem)] if words and filesystem != "xfs" else []


def _project_ids(found: str, filesystem: str) -> Finding:
    return Finding(
        "project ids", Verdict.LIMITED, found,
        f"The new {filesystem} has none, so project quotas cannot work there.",
        "XFS keeps them: --fs xfs.",
    )  # fmt: skip


def _features(origin: Origin, filesystem: str) -> list[Finding]:
    """Features of ext4 that mkfs does not set by itself."""
    features = _features_of(origin)
    found = [finding for feature, finding in _BY_FEATURE.items() if feature in features]
    if origin.inside:  # perhaps in use elsewhere in that file system
        found = [replace(finding, verdict=Verdict.LIMITED) for finding in found]
    told = origin.options_among(_PROJECT_OPTIONS)
    if "project" in features and filesystem != "xfs" and not told:
        found.append(_project_ids("the feature is switched on", filesystem))
    return found


def _lasting_features(present: Origin, filesystem: str) -> list[Finding]:
    """Features that are in use whatever the contents are."""
    return [_BY_FEATURE[name] for name in ("casefold", "encrypt") if name in _features_of(present)]


def _features_of(origin: Origin) -> set[str]:
    answer = run(["dumpe2fs", "-h", origin.device], deadline_seconds=_ANSWER_SECONDS).stdout
    line = next((line for line in answer.splitlines() if line.startswith("Filesystem feat")), "")
    return set(line.partition(":")[2].split())


_BY_FEATURE = {
    "casefold": Finding(
        "case-insensitive names",
        Verdict.LIMITED,
        "the feature casefold is switched on",
        "In the copy of such a directory a file is found by its exact name only.",
        "Leave it where it is when programs rely on that.",
    ),
    "encrypt": Finding(
        "encryption",
        Verdict.NEEDS_FORCE,
        "the feature encrypt is switched on",
        "Files in encrypted directories (fscrypt) are copied in the clear.",
        "Use a container that is encrypted itself (dm-crypt), and --force.",
    ),
    "verity": Finding(
        "fs-verity",
        Verdict.LIMITED,
        "the feature verity is switched on",
        "Copies of files that it protects are ordinary files, which can be changed unnoticed.",
        "Enable it anew afterwards: fsverity enable.",
    ),
}


def _subvolumes(origin: Origin, filesystem: str) -> list[Finding]:
    count = _listed(origin) if origin.path else 0
    if not count:
        return []
    snapshots = _listed(origin, "-s")
    of_them = f", {snapshots} of them snapshots" if snapshots else ""
    return [
        Finding(
            "btrfs subvolumes",
            Verdict.LIMITED,
            f"{count}{of_them}",
            "They become directories, also those that are read-only. What they have in common is"
            " copied for each: more room is needed than is in use now.",
            "Delete snapshots that are not needed, and name a container with room for all.",
        )
    ]


def _listed(origin: Origin, *options: str) -> int:
    """How many are below what is copied; their paths are those from the top of the file system."""
    command = ["btrfs", "subvolume", "list", *options, origin.path]
    lines = run(command, deadline_seconds=_ANSWER_SECONDS).stdout.splitlines()
    below = f"{origin.inside}/" if origin.inside else ""
    return sum(line.partition(" path ")[2].startswith(below) for line in lines)


def _quota_groups(origin: Origin, filesystem: str) -> list[Finding]:
    if has_quota_groups(origin.device):
        return [_limits_of_quota("quota groups of btrfs")]
    return []


def _compression(origin: Origin, filesystem: str) -> list[Finding]:
    words = origin.options_among(_COMPRESSION_OPTIONS)
    if not words or filesystem == "btrfs":
        return []
    return [
        Finding(
            "compression",
            Verdict.LIMITED,
            ", ".join(words),
            f"{filesystem} does not compress: more room is needed than is in use now.",
            "Name a container with room for all.",
        )
    ]


_OF_FILES: _Looks = {
    "ext4": (_projects, _features),
    "xfs": (_projects,),
    "btrfs": (_subvolumes, _compression),
}
"""What is looked at, by the type of the file system that files come from."""

_OF_THE_WHOLE: _Looks = {
    "ext4": (_quota, _projects, _lasting_features),
    "xfs": (_quota, _projects),
    "btrfs": (_quota_groups,),
}
"""What is looked at, by the type of the file system that is replaced."""
