"""Every error that a user of Holdfast can meet. Must never import anything else of Holdfast.

Everybody imports them from here.

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
    │   │   └── AtWork      ATWORK
    │   ├── TooSmall        SMALL
    │   ├── NotInPlace      INPLACE
    │   ├── OwnLeg          SELF
    │   ├── StaleLeg        STALE
    │   ├── Superseded      SUPERSEDED
    │   ├── LastLeg         LASTLEG
    │   ├── Blocked         BLOCKED
    │   ├── CannotFreeze    NOFREEZE
    │   ├── NotConfirmed    CONFIRM
    │   ├── CannotAdopt     ADOPT
    │   ├── CannotRecord    NORECORD
    │   ├── Untrusted       TRUST
    │   ├── Unreachable     MOMENT
    │   └── NewerVersion    NEWER
    ├── NotFound            exit 4   there is no such thing
    │   ├── NoSuchVolume    NOVOLUME
    │   ├── NoSuchLeg       NOLEG
    │   ├── NoSuchReceipt   NORECEIPT
    │   ├── NoSuchJob       NOJOB
    │   ├── NoSuchCopy      NOCOPY
    │   ├── NoSuchPoint     NOPOINT
    │   ├── NoSuchFile      NOFILE
    │   ├── NoSuchContainer NOCONTAINER
    │   └── NotMounted      NOMOUNT
    ├── HostCannot          exit 5   this host lacks what it takes
    │   ├── MissingRights   RIGHTS
    │   ├── MissingFuse     FUSE
    │   ├── NoApi           NOAPI
    │   └── MissingTool     TOOL
    ├── WrongState          exit 6   not now
    │   ├── NotAttached     DETACHED
    │   ├── VolumeHeld      HELD
    │   ├── AlreadyFrozen   FROZEN
    │   ├── NotFrozen       THAWED
    │   ├── GateGone        GATE
    │   ├── HasNoGate       NOGATE
    │   ├── HasGate         GATED
    │   ├── TooMany         TOOMANY
    │   ├── NoHistory       NOHISTORY
    │   ├── NotLost         NOTLOST
    │   ├── NotVanished     STILLTHERE
    │   └── NothingStuck    NOTSTUCK
    ├── StorageFailed       exit 7   storage did not do what it must
    │   ├── ContainerFailed IO
    │   ├── NoSource        NOSOURCE
    │   ├── HistoryFailed   HISTORY
    │   ├── CommandFailed   COMMAND
    │   ├── NotRecovered    LEFT
    │   ├── NotDelivered    ALERT
    │   ├── StateFailed     STATE
    │   └── UnreadableRecord RECORD
    ├── DeadlinePassed      exit 8   TIMEOUT
    ├── JobDied             exit 9   DIED
    └── JobInterrupted      exit 130 INTERRUPTED
"""

from __future__ import annotations

from holdfast.errors.families import (
    BadInput,
    DeadlinePassed,
    HoldfastError,
    HostCannot,
    JobDied,
    JobInterrupted,
    NotFound,
    Refused,
    StorageFailed,
    WrongState,
)
from holdfast.errors.missing import (
    MissingFuse,
    MissingRights,
    MissingTool,
    NoApi,
    NoSuchContainer,
    NoSuchCopy,
    NoSuchFile,
    NoSuchJob,
    NoSuchLeg,
    NoSuchPoint,
    NoSuchReceipt,
    NoSuchVolume,
    NotMounted,
)
from holdfast.errors.refusals import (
    AlreadyExists,
    AtWork,
    Blocked,
    CannotAdopt,
    CannotFreeze,
    CannotRecord,
    ForeignLeg,
    HoldsData,
    InUse,
    InvalidName,
    InvalidOption,
    InvalidSize,
    InvalidUrl,
    LastLeg,
    NewerVersion,
    NotConfirmed,
    NotInPlace,
    OwnLeg,
    StaleLeg,
    Superseded,
    TooSmall,
    Unreachable,
    Untrusted,
)
from holdfast.errors.states import (
    AlreadyFrozen,
    GateGone,
    HasGate,
    HasNoGate,
    NoHistory,
    NotAttached,
    NotFrozen,
    NothingStuck,
    NotLost,
    NotVanished,
    TooMany,
    VolumeHeld,
)
from holdfast.errors.storage import (
    CommandFailed,
    ContainerFailed,
    HistoryFailed,
    NoSource,
    NotDelivered,
    NotRecovered,
    StateFailed,
    UnreadableRecord,
)

__all__ = [
    "AlreadyExists",
    "AlreadyFrozen",
    "AtWork",
    "BadInput",
    "Blocked",
    "CannotAdopt",
    "CannotFreeze",
    "CannotRecord",
    "CommandFailed",
    "ContainerFailed",
    "DeadlinePassed",
    "ForeignLeg",
    "GateGone",
    "HasGate",
    "HasNoGate",
    "HistoryFailed",
    "HoldfastError",
    "HoldsData",
    "HostCannot",
    "InUse",
    "InvalidName",
    "InvalidOption",
    "InvalidSize",
    "InvalidUrl",
    "JobDied",
    "JobInterrupted",
    "LastLeg",
    "MissingFuse",
    "MissingRights",
    "MissingTool",
    "NewerVersion",
    "NoApi",
    "NoHistory",
    "NoSource",
    "NoSuchContainer",
    "NoSuchCopy",
    "NoSuchFile",
    "NoSuchJob",
    "NoSuchLeg",
    "NoSuchPoint",
    "NoSuchReceipt",
    "NoSuchVolume",
    "NotAttached",
    "NotConfirmed",
    "NotDelivered",
    "NotFound",
    "NotFrozen",
    "NotInPlace",
    "NotLost",
    "NotMounted",
    "NotRecovered",
    "NotVanished",
    "NothingStuck",
    "OwnLeg",
    "Refused",
    "StaleLeg",
    "StateFailed",
    "StorageFailed",
    "Superseded",
    "TooMany",
    "TooSmall",
    "Unreachable",
    "UnreadableRecord",
    "Untrusted",
    "VolumeHeld",
    "WrongState",
]
