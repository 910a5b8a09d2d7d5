"""Doctor: the programs that Holdfast runs, and the packages that bring them."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.model.finding import Finding, Verdict
from holdfast.service.doctor.kernel import kernel_has_file_system
from holdfast.system.children.run import find_tool
from holdfast.system.storage.filesystem import KINDS

_PROGRAMS = {
    "mount": "mount",
    "umount": "mount",
    "losetup": "mount",
    "blkid": "util-linux",
    "findmnt": "util-linux",
    "wipefs": "util-linux",
}
"""Program → Debian package."""

_FILE_SYSTEM_PACKAGES = {"ext4": "e2fsprogs", "xfs": "xfsprogs", "btrfs": "btrfs-progs"}


def programs() -> Iterator[Finding]:
    """Programs without which nothing works."""
    absent = [name for name in _PROGRAMS if find_tool(name) is None]
    if not absent:
        yield Finding("programs", Verdict.OK, ", ".join(_PROGRAMS))
        return
    packages = sorted({_PROGRAMS[name] for name in absent})
    yield Finding(
        "programs",
        Verdict.MISSING,
        f"not installed: {', '.join(absent)}",
        "Volumes cannot be attached.",
        f"apt install {' '.join(packages)}",
    )


def file_systems() -> Iterator[Finding]:
    """Each file system needs the kernel's driver and its own tools; one of them is enough."""
    findings = [_file_system(name) for name in KINDS]
    usable = any(finding.verdict is Verdict.OK for finding in findings)
    yield from findings
    if not usable:
        yield Finding(
            "file systems",
            Verdict.MISSING,
            "none of them can be used",
            "No volume can be created.",
            f"apt install {_FILE_SYSTEM_PACKAGES['ext4']}",
        )


def _file_system(name: str) -> Finding:
    absent = [tool for tool in KINDS[name].tool_names if find_tool(tool) is None]
    if not kernel_has_file_system(name):
        return Finding(
            name,
            Verdict.LIMITED,
            "not in this kernel",
            f"No volume can have {name}.",
            f"Use another file system, or a kernel with {name}.",
        )
    if absent:
        return Finding(
            name,
            Verdict.LIMITED,
            f"not installed: {', '.join(absent)}",
            f"Volumes with {name} cannot be created, checked or resized.",
            f"apt install {_FILE_SYSTEM_PACKAGES[name]}",
        )
    return Finding(name, Verdict.OK, f"kernel and {', '.join(KINDS[name].tool_names)}")
