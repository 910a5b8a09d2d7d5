"""Every error that a user of Holdfast can meet. Must never import anything else of Holdfast.

Each leaf has a stable `code` and `exit_status` (docs/exit-status.md) and, per occurrence, a `mend`:
what to do now. `holdfast explain CODE` prints its docstring.

    HoldfastError
    ├── BadInput            exit 2   what was typed is invalid
    │   ├── InvalidName     NAME
    │   ├── InvalidSize     SIZE
    │   ├── InvalidUrl      URL
    │   └── InvalidOption   OPTION
    ├── Refused             exit 3   it could be done, and would do harm
    │   ├── AlreadyExists   EXISTS
    │   ├── HoldsData       DATA
    │   ├── ForeignLeg      FOREIGN
    │   ├── InUse           BUSY
    │   ├── TooSmall        SMALL
    │   ├── OwnLeg          SELF
    │   ├── StaleLeg        STALE
    │   ├── Superseded      SUPERSEDED
    │   ├── LastLeg         LASTLEG
    │   ├── Blocked         BLOCKED
    │   ├── CannotFreeze    NOFREEZE
    │   ├── NotConfirmed    CONFIRM
    │   ├── CannotAdopt     ADOPT
    │   ├── CannotRecord    NORECORD
    │   └── Untrusted       TRUST
    ├── NotFound            exit 4   there is no such thing
    │   ├── NoSuchVolume    NOVOLUME
    │   ├── NoSuchLeg       NOLEG
    │   ├── NoSuchReceipt   NORECEIPT
    │   ├── NoSuchContainer NOCONTAINER
    │   └── NotMounted      NOMOUNT
    ├── HostCannot          exit 5   this host lacks what it takes
    │   ├── MissingRights   RIGHTS
    │   ├── MissingFuse     FUSE
    │   └── MissingTool     TOOL
    ├── WrongState          exit 6   not now
    │   ├── NotAttached     DETACHED
    │   ├── VolumeHeld      HELD
    │   ├── AlreadyFrozen   FROZEN
    │   ├── NotFrozen       THAWED
    │   ├── GateGone        GATE
    │   ├── HasNoGate       NOGATE
    │   └── NothingStuck    NOTSTUCK
    ├── StorageFailed       exit 7   storage did not do what it must
    │   ├── ContainerFailed IO
    │   ├── NoSource        NOSOURCE
    │   ├── CommandFailed   COMMAND
    │   ├── NotRecovered    LEFT
    │   └── UnreadableRecord RECORD
    ├── DeadlinePassed      exit 8   TIMEOUT
    ├── JobDied             exit 9   DIED
    └── JobInterrupted      exit 130 INTERRUPTED
"""

from __future__ import annotations

from typing import ClassVar


class HoldfastError(Exception):
    """Anything that Holdfast refuses or fails to do, with a code and a mend."""

    code: ClassVar[str] = ""
    exit_status: ClassVar[int] = 1

    def __init__(self, message: str, mend: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.mend = mend


class BadInput(HoldfastError):
    """What was typed is invalid. Nothing was changed."""

    exit_status = 2


class InvalidName(BadInput):
    """A volume name is 1 to 40 characters: letters, digits, dot, dash, underscore; it starts with
    a letter or digit. Slashes and spaces are refused because the name is used in paths."""

    code = "NAME"


class InvalidSize(BadInput):
    """A size is a whole number with an optional unit: 512M, 20G, 1T (powers of 1024). A volume
    has at least 16 MiB (xfs: 300 MiB, btrfs: 109 MiB) and at most 16 TiB."""

    code = "SIZE"


class InvalidUrl(BadInput):
    """A container is named by a URL: file:/absolute/path.img for an image file, block:/dev/name
    for a block device. The path is absolute."""

    code = "URL"


class InvalidOption(BadInput):
    """An option has a value that does not exist or contradicts another option."""

    code = "OPTION"


class Refused(HoldfastError):
    """It could be done and would do harm. Nothing was changed."""

    exit_status = 3


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
    it would destroy that volume's leg. Remove it from its volume first: holdfast leg remove."""

    code = "FOREIGN"


class InUse(Refused):
    """The container, path or volume is in use: mounted, attached to a loop device, locked by
    another gate, or opened by running processes."""

    code = "BUSY"


class TooSmall(Refused):
    """The container has no room for the volume's data plus Holdfast's superblock at its end."""

    code = "SMALL"


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


class NotFound(HoldfastError):
    """There is no such thing."""

    exit_status = 4


class NoSuchVolume(NotFound):
    """No volume of this name is in the catalog: holdfast volume list shows those that are. After
    the loss of the catalog: holdfast volume attach NAME --leg URL reads the superblocks."""

    code = "NOVOLUME"


class NoSuchLeg(NotFound):
    """The volume has no such leg. Legs are named by number, id or URL: holdfast volume show."""

    code = "NOLEG"


class NoSuchReceipt(NotFound):
    """No receipt has this id: holdfast receipt list shows those that exist."""

    code = "NORECEIPT"


class NoSuchContainer(NotFound):
    """The container's path does not exist and is not to be created here."""

    code = "NOCONTAINER"


class NotMounted(NotFound):
    """Nothing is mounted at this path: findmnt lists what is mounted where."""

    code = "NOMOUNT"


class HostCannot(HoldfastError):
    """This host lacks what it takes: holdfast doctor lists it with the mend."""

    exit_status = 5


class MissingRights(HostCannot):
    """Mounting, loop devices and FUSE need root (CAP_SYS_ADMIN)."""

    code = "RIGHTS"


class MissingFuse(HostCannot):
    """The host has no usable /dev/fuse. Load the fuse module, or give the container the device."""

    code = "FUSE"


class MissingTool(HostCannot):
    """A program that is needed is not installed."""

    code = "TOOL"


class WrongState(HoldfastError):
    """The volume is in a state in which this cannot be done. Nothing was changed."""

    exit_status = 6


class NotAttached(WrongState):
    """The volume is detached: holdfast volume attach NAME."""

    code = "DETACHED"


class VolumeHeld(WrongState):
    """The volume is held: requests wait. Dismounting it now would wait as well, until the
    deadline. Release it, bring a leg back, or add one."""

    code = "HELD"


class AlreadyFrozen(WrongState):
    """The processes that use the volume are frozen already: holdfast thaw continues them; at the
    deadline they continue by themselves."""

    code = "FROZEN"


class NotFrozen(WrongState):
    """Nobody is frozen for this volume: thawed before, or at the deadline."""

    code = "THAWED"


class GateGone(WrongState):
    """The volume is mounted but its gate does not answer: both of its processes are gone, or
    stopped. holdfast recover cleans up; holdfast volume attach starts it again."""

    code = "GATE"


class HasNoGate(WrongState):
    """The volume was adopted: there is no gate below it that could hold requests, no legs, no
    journal. holdfast migrate moves it to a container."""

    code = "NOGATE"


class NothingStuck(WrongState):
    """There is no restoration of this volume that has begun and not ended, so none can be
    abandoned."""

    code = "NOTSTUCK"


class StorageFailed(HoldfastError):
    """Storage did not do what it must."""

    exit_status = 7


class ContainerFailed(StorageFailed):
    """A container failed to open, read, write or flush."""

    code = "IO"


class NoSource(StorageFailed):
    """None of the legs that can be reached holds the newest acknowledged data, or it cannot be
    proven: a leg that is away may be newer. Bring the missing leg back, or accept the loss with
    --force."""

    code = "NOSOURCE"


class CommandFailed(StorageFailed):
    """A system command (mkfs, mount, losetup, resize2fs …) failed; its own words are shown."""

    code = "COMMAND"


class NotRecovered(StorageFailed):
    """What was interrupted could be neither finished nor undone, or not all of it. See to what is
    in the way and repeat holdfast recover; holdfast recover --abandon NAME gives a restoration up
    and says what it leaves."""

    code = "LEFT"


class UnreadableRecord(StorageFailed):
    """What is written down of a restoration that has begun cannot be read: it is damaged, or of a
    newer version of Holdfast. Nothing was changed. Use that version, or give the restoration up:
    holdfast recover --abandon NAME says what it leaves."""

    code = "RECORD"


class DeadlinePassed(HoldfastError):
    """It did not end within its deadline. The storage below may hang."""

    code = "TIMEOUT"
    exit_status = 8


class JobDied(HoldfastError):
    """The process that carried the operation out was killed, or ended by a mistake in Holdfast
    itself. Whoever it had stopped goes on by itself; holdfast recover finishes or undoes the
    rest."""

    code = "DIED"
    exit_status = 9


class JobInterrupted(HoldfastError):
    """The job was told to end, as by Ctrl-C: what was half done is undone, or finished where it
    could not be undone any more."""

    code = "INTERRUPTED"
    exit_status = 130
