"""Nothing was begun: what was typed is invalid, or would do harm."""

from __future__ import annotations

from holdfast.errors.families import BadInput, Refused


class InvalidName(BadInput):
    """A volume name is 1 to 40 characters: letters, digits, dot, dash, underscore; it starts with
    a letter or digit. Slashes and spaces are refused because the name is used in paths."""

    code = "NAME"


class InvalidSize(BadInput):
    """A size is a whole number with an optional unit: 512M, 20G, 1T (powers of 1024). A volume
    has at least 16 MiB (xfs: 300 MiB, btrfs: 109 MiB) and at most 16 TiB."""

    code = "SIZE"


class InvalidUrl(BadInput):
    """A container is named by a URL, e.g. file:/absolute/path.img for an image file,
    block:/dev/name for a block device. A path is absolute."""

    code = "URL"


class InvalidOption(BadInput):
    """An option has a value that does not exist or contradicts another option."""

    code = "OPTION"


class AlreadyExists(Refused):
    """A volume of this name, or a mount at this path, exists already."""

    code = "EXISTS"


class HoldsData(Refused):
    """The container holds something: a file system, a partition table, or bytes that are not
    zero. Holdfast never overwrites it. Use another container, or erase this one on purpose
    (wipefs, or delete the image)."""

    code = "DATA"


class ForeignLeg(Refused):
    """The container carries the superblock of another Holdfast volume (or of another leg). Using
    it would destroy that volume's leg. Remove it from its volume first: holdfast leg remove. Where
    its volume has no gate any more, it is a copy: the mend says how to clear it."""

    code = "FOREIGN"


class InUse(Refused):
    """The container, path or volume is in use: mounted, attached to a loop device, locked by
    another gate, or opened by running processes."""

    code = "BUSY"


class AtWork(InUse):
    """Another command is at work on this volume, and changes of a volume are made one at a time.
    What is unfinished there is that command's to finish. Wait until it has ended."""

    code = "ATWORK"


class TooSmall(Refused):
    """The container has no room for the volume's data plus Holdfast's superblock at its end."""

    code = "SMALL"


class NotInPlace(Refused):
    """The volume cannot get its gate, or lose it, where it lies (volume gate --in-place, ungate
    --in-place): its container is none that can be a leg, shows only a part of something, is
    read-only, or is no leg in sync. Nothing was changed. Without --in-place it is copied."""

    code = "INPLACE"


class OwnLeg(Refused):
    """The container lies on the volume itself, or on a volume that has this one below it. A
    volume that is a leg of itself deadlocks at its first write."""

    code = "SELF"


class StaleLeg(Refused):
    """The container belongs to this volume but is older than what the volume has acknowledged
    since: its epoch or its position is behind. It may not be a source. While a current leg is
    there it can be added again and is resynchronised."""

    code = "STALE"


class Superseded(Refused):
    """Another host has gone on with this volume: its epoch is not the one that this host remembered
    last. Nothing is read or written here any more. Detach the volume here, and attach it again when
    the other host has detached it."""

    code = "SUPERSEDED"


class LastLeg(Refused):
    """This is the only leg that holds the volume's current data, or the only one that can still be
    found by its name. Add another one first and wait until it is in sync. A deleted image cannot be
    given a name again (linkat(2) refuses a file without one); while the gate runs, its data can
    be copied: holdfast leg add, also under the old name."""

    code = "LASTLEG"


class Blocked(Refused):
    """A process keeps the volume busy by something that cannot be moved: holdfast assess names the
    process, the handle and the reason. End that process, or let go of what it holds."""

    code = "BLOCKED"


class CannotFreeze(Refused):
    """The volume's processes cannot be frozen this way, or those that use it must not be: they
    serve its storage, or the command runs below them. Nobody is frozen."""

    code = "NOFREEZE"


class NotConfirmed(Refused):
    """The command destroys data and was neither confirmed at a terminal nor given --yes."""

    code = "CONFIRM"


class CannotAdopt(Refused):
    """This mount cannot be managed: a window into the kernel (proc, sysfs, cgroup), part of the
    running system, or a gate's own file."""

    code = "ADOPT"


class CannotRecord(Refused):
    """What must be written down before something is done could not be read again afterwards: a name
    that is too long, more mounts than there is room for, a number out of bounds. Nothing was
    changed. The message names the process that has it, as far as it is known: end that, or
    dismount what is there."""

    code = "NORECORD"


class Untrusted(Refused):
    """A file or directory that Holdfast would believe could have been made, exchanged or written by
    somebody else than root: its owner, mode, kind or number of names, or a directory above it. What
    lies in Holdfast's own places decides what root deletes and mounts."""

    code = "TRUST"


class Unreachable(Refused):
    """What a volume was at that moment cannot be proven from its copies and its history: every copy
    is newer, the history does not reach back so far, a gap or a step lies in between, or the clock
    showed that time more than once. The message says what can be reached."""

    code = "MOMENT"


class NewerVersion(Refused):
    """What is on disk was written by a newer version of Holdfast, in a form that this version does
    not know. It is left as it is. Use that version."""

    code = "NEWER"
