"""Nothing was begun: there is no such thing, or this host lacks what it takes."""

from __future__ import annotations

from holdfast.errors.families import HostCannot, NotFound


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


class NoSuchJob(NotFound):
    """The API knows no job of this id: it began none, has begun too many since, or was started
    anew. The job went on; holdfast receipt list says how it ended."""

    code = "NOJOB"


class NoSuchCopy(NotFound):
    """The volume has no such copy. Copies are named by id or URL: holdfast copy list."""

    code = "NOCOPY"


class NoSuchPoint(NotFound):
    """The volume has no restore point of this name: holdfast point list shows those it has."""

    code = "NOPOINT"


class NoSuchFile(NotFound):
    """There was nothing at that path of the volume at that moment: holdfast files NAME ls lists a
    directory as it was."""

    code = "NOFILE"


class NoSuchContainer(NotFound):
    """The container's path does not exist and is not to be created here."""

    code = "NOCONTAINER"


class NotMounted(NotFound):
    """Nothing is mounted at this path: findmnt lists what is mounted where."""

    code = "NOMOUNT"


class MissingRights(HostCannot):
    """Mounting, loop devices and FUSE need root (CAP_SYS_ADMIN); by the API, what your user or your
    token may not."""

    code = "RIGHTS"


class MissingFuse(HostCannot):
    """The host has no usable /dev/fuse. Load the fuse module, or give the container the device."""

    code = "FUSE"


class NoApi(HostCannot):
    """Nobody serves the API on this host, or who did has ended: holdfast api, or systemctl start
    holdfast-api. What was begun goes on."""

    code = "NOAPI"


class MissingTool(HostCannot):
    """A program that is needed is not installed."""

    code = "TOOL"
