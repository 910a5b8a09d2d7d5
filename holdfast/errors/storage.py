"""Storage did not do what it must."""

from __future__ import annotations

from holdfast.errors.families import StorageFailed


class ContainerFailed(StorageFailed):
    """A container failed to open, read, write or flush."""

    code = "IO"


class NoSource(StorageFailed):
    """None of the legs that can be reached holds the newest acknowledged data, or it cannot be
    proven: a leg that is away may be newer. Bring the missing leg back, or accept the loss with
    --force."""

    code = "NOSOURCE"


class HistoryFailed(StorageFailed):
    """The history of a volume, where every write is kept, cannot be written or read: full, gone,
    hanging, read-only, damaged. A volume in use goes on as its policy says; one that is detached is
    not attached before it is back, or holdfast history NAME --off has ended it: what is written
    then is not in it."""

    code = "HISTORY"


class CommandFailed(StorageFailed):
    """A system command (mkfs, mount, losetup, resize2fs …) failed; its own words are shown."""

    code = "COMMAND"


class NotRecovered(StorageFailed):
    """What was interrupted could be neither finished nor undone, or not all of it. See to what is
    in the way and repeat holdfast recover; holdfast recover --abandon NAME gives a restoration up
    and says what it leaves."""

    code = "LEFT"


class NotDelivered(StorageFailed):
    """Somebody who is to be told of troubles was not: the program failed, the web server or the
    mail server did not take the message. The daemon tries again, for a week; holdfast alert test
    says how it goes now."""

    code = "ALERT"


class StateFailed(StorageFailed):
    """A disk that is needed is full or fails, as a rule that of Holdfast's own files (catalog,
    records of restorations, states of gates); the message says which, as far as it is known.
    Volumes keep running. Make room there, then try again: what was begun is undone by then, or
    by holdfast recover."""

    code = "STATE"


class UnreadableRecord(StorageFailed):
    """What is written down of a restoration that has begun cannot be read: it is damaged, or of a
    newer version of Holdfast. Nothing was changed. Use that version, or give the restoration up:
    holdfast recover --abandon NAME says what it leaves."""

    code = "RECORD"
