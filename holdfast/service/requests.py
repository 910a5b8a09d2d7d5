"""What one can ask of Holdfast, one value for each operation, checked as far as values can tell.

Owns the defaults of what an administrator leaves out. Must never change anything; whether the host
can do it is for the rooms below to say.
"""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING, Generic, TypeVar

from holdfast.config import Settings
from holdfast.containers import is_container_url, parse_container_url
from holdfast.errors import InvalidOption, NoSuchContainer
from holdfast.gate.runtime.shared_page import SOCKET_FILE
from holdfast.late_dataclass import dataclass
from holdfast.model.plan import Strategy
from holdfast.model.receipt import Receipt
from holdfast.model.recovery import RecoveryReport
from holdfast.model.source import NOTHING_KNOWN, Source
from holdfast.model.volume import (
    DEFAULT_SECTOR_BYTES,
    SECTOR_SIZES,
    JournalMode,
    MountProperties,
    Volume,
    VolumeReport,
    check_name,
)

if TYPE_CHECKING:
    from holdfast.restoration.assessing.facts import CheckedRequest

LONGEST_SOCKET_PATH_BYTES = 107
"""unix(7): sun_path has 108 bytes, one of them ends it."""

DEADLINE_SECONDS = 60.0
"""Half of the kernel's hung-task watchdog (120 s): nobody stays stopped longer."""

BUDGET_SHARE = 0.5
"""A pause that is predicted to take more of the deadline than this is not begun without force."""

_JOURNAL_MODES = (JournalMode.NONE, JournalMode.UNFLUSHED)
"""`continuous` needs a history, which no command makes yet."""

_UNUSABLE_MOUNT_PATHS = ("/", "/dev", "/proc", "/sys", "/run", "/etc", "/usr", "/var", "/boot")

Result = TypeVar("Result", covariant=True)


class OperationRequest(Generic[Result]):
    """What is asked of an operation that may take long, and gives a Result (see `operations`)."""


@dataclass(frozen=True)
class NewVolume(OperationRequest[VolumeReport]):
    """A volume that does not exist yet."""

    name: str
    size_bytes: int
    mount_path: str
    filesystem: str = "ext4"
    leg_urls: tuple[str, ...] = ()
    """Empty: one image in the state directory."""
    spare_urls: tuple[str, ...] = ()
    journal: str = JournalMode.UNFLUSHED.value
    hold_timeout_seconds: float = 600.0
    hang_timeout_seconds: float = 5.0
    options: str = ""
    label: str = ""
    sector_bytes: int = DEFAULT_SECTOR_BYTES

    def as_volume(self) -> Volume:
        """The volume with an identity of its own and normalised URLs; touches nothing.

        Raises BadInput for invalid values. Whether the host can do it is for
        `holdfast.volumes` to say.
        """
        check_journal(self.journal)
        if self.sector_bytes not in SECTOR_SIZES:
            raise InvalidOption(
                f"a sector cannot have {self.sector_bytes} bytes",
                f"Use {', '.join(map(str, SECTOR_SIZES))}.",
            )
        return Volume(
            name=check_name(self.name),
            id=str(uuid.uuid4()),
            kind="gated",
            size_bytes=self.size_bytes,
            mount=MountProperties(
                path=_checked_mount_path(self.mount_path),
                filesystem=self.filesystem,
                options=_checked_words("--options", self.options),
                label=_checked_words("--label", self.label or self.name),
            ),
            leg_urls=tuple(str(parse_container_url(url)) for url in self.leg_urls),
            spare_urls=tuple(str(parse_container_url(url)) for url in self.spare_urls),
            journal=JournalMode(self.journal),
            hold_timeout_seconds=self.hold_timeout_seconds,
            hang_timeout_seconds=self.hang_timeout_seconds,
            sector_bytes=self.sector_bytes,
        )


@dataclass(frozen=True)
class MountRequest:
    """How to mount a volume of which this host knows nothing, as the administrator says."""

    path: str = ""
    options: str | None = None
    """None: HARMLESS_OPTIONS."""

    @property
    def is_given(self) -> bool:
        """Whether anything was said."""
        return bool(self.path) or self.options is not None

    def applied_to(self, found: Volume) -> MountProperties:
        """The mount of a volume that only its superblocks describe. Raises InvalidOption."""
        if not self.path:
            raise InvalidOption(
                f"only the superblocks say where {found.name} was mounted ({found.mount.path}), and"
                " whoever made the image wrote them",
                f"Say where to mount it: holdfast volume attach {found.name} --leg … --mount PATH"
                f" (it gets {HARMLESS_OPTIONS}, or what --options says).",
            )
        options = HARMLESS_OPTIONS if self.options is None else self.options
        return MountProperties(
            path=_checked_mount_path(self.path),
            filesystem=found.mount.filesystem,
            options=_checked_words("--options", options),
            label=found.mount.label,
            uuid=found.mount.uuid,
        )


HARMLESS_OPTIONS = "nosuid,nodev"
"""On a file system from elsewhere nobody becomes root by a program or a device node in it."""


@dataclass(frozen=True)
class AssessRequest:
    """What would happen if the storage under a volume were replaced."""

    volume: str
    strategy: Strategy | None = None
    """None: what fits the cause that is found."""
    urls: tuple[str, ...] = ()
    """Containers that take the place of the present storage; several: the legs of a mirror."""
    spare_urls: tuple[str, ...] = ()
    """Spares of a mirror; none: those that it has."""
    filesystem: str = ""
    """Its type; empty: as now."""
    contents: str = ""
    """Directory or container that the contents come from; empty: the volume itself."""
    source: Source = NOTHING_KNOWN
    deadline_seconds: float = DEADLINE_SECONDS
    forced: bool = False
    saves_writes: bool = True
    """Whether what is only in memory is kept where the storage has failed."""
    pause_budget_seconds: float | None = None
    """Longest pause that may be predicted; None: a share of the deadline."""

    def checked(self, volume: Volume) -> CheckedRequest:
        """What is asked for, with URLs and paths normalised. Raises BadInput, NotFound."""
        from holdfast.restoration.assessing.facts import CheckedRequest
        from holdfast.restoration.storage.target import place_beside
        from holdfast.system.storage.filesystem import kind_of

        if self.filesystem:
            kind_of(self.filesystem)
        contents = _checked_contents(self.contents) if self.contents else ""
        urls = tuple(str(parse_container_url(url)) for url in self.urls)
        if contents and not urls:
            urls = (place_beside(volume, volume.id),)
        first, more = (urls[0], urls[1:]) if urls else ("", ())
        return CheckedRequest(
            volume=volume,
            strategy=self.strategy,
            url=first,
            more_urls=more,
            spare_urls=tuple(str(parse_container_url(url)) for url in self.spare_urls),
            filesystem=self.filesystem,
            contents=contents,
            source=self.source,
            deadline_seconds=self.deadline_seconds,
            pause_budget_seconds=self.pause_budget_seconds or self.deadline_seconds * BUDGET_SHARE,
            forced=self.forced,
            saves_writes=self.saves_writes,
        )


@dataclass(frozen=True)
class MigrateRequest(OperationRequest[Receipt | None]):
    """A volume that is to be on other storage."""

    volume: str
    urls: tuple[str, ...]
    """The container; several: the legs of a mirror, in sync at the end as well."""
    spare_urls: tuple[str, ...] = ()
    """Spares of a mirror; none: those that it has."""
    filesystem: str = ""
    """Its type; empty: as now."""
    deadline_seconds: float = DEADLINE_SECONDS
    forced: bool = False

    def __post_init__(self) -> None:
        """Raise InvalidOption when no container is named."""
        if not self.urls:
            raise InvalidOption("no container was named", f"holdfast migrate {self.volume} URL")

    def as_assess_request(self) -> AssessRequest:
        """What is to be found out before it is done."""
        return AssessRequest(
            volume=self.volume,
            strategy=Strategy.MIGRATE,
            urls=self.urls,
            spare_urls=self.spare_urls,
            filesystem=self.filesystem,
            deadline_seconds=self.deadline_seconds,
            forced=self.forced,
        )


@dataclass(frozen=True)
class AttachRequest(OperationRequest[VolumeReport]):
    """A volume that is to be attached and mounted."""

    volume: str
    leg_urls: tuple[str, ...] = ()
    """Whose superblocks say what it is; empty: the catalog does."""
    forced: bool = False
    """Also when a leg that is away may be newer."""
    mount: MountRequest = MountRequest()


@dataclass(frozen=True)
class DetachRequest(OperationRequest[VolumeReport]):
    """A volume that is to be dismounted."""

    volume: str
    park_seconds: float | None = None
    """How long the users of an adopted one wait for it; None: it must have none."""
    stays_wanted: bool = False
    """Whether it is attached again with those that were not detached on purpose: at boot."""


@dataclass(frozen=True)
class ResizeRequest(OperationRequest[VolumeReport]):
    """A volume that is to be larger."""

    volume: str
    size_bytes: int


@dataclass(frozen=True)
class DeleteRequest(OperationRequest[tuple[str, ...]]):
    """A volume that is to be deleted; gives what was left of it, in words."""

    volume: str
    keep_images: bool = False


@dataclass(frozen=True)
class AddLegRequest(OperationRequest[VolumeReport]):
    """A container that a gated volume is to have as well."""

    volume: str
    url: str
    spare: bool = False
    wait: bool = True
    """Until it is in sync."""


@dataclass(frozen=True)
class ReplaceLegRequest(OperationRequest[VolumeReport]):
    """A container that is to take a leg's place."""

    volume: str
    leg: str
    """Number, id or URL."""
    url: str
    wait: bool = True
    """Until it is in sync."""


@dataclass(frozen=True)
class RebindRequest(OperationRequest[tuple[str, ...]]):
    """Handles that are to leave a mount that is gone; gives whose were moved, in words."""

    volume: str
    deadline_seconds: float = DEADLINE_SECONDS


@dataclass(frozen=True)
class RecoverRequest(OperationRequest[RecoveryReport]):
    """Everything on this host that was interrupted is to be finished or undone."""


def check_mount_request(request: MountRequest, volume: Volume) -> None:
    """Raise InvalidOption when a volume that this host knows is wanted elsewhere or otherwise."""
    recorded = volume.mount
    path = _checked_mount_path(request.path) if request.path else recorded.path
    options = recorded.options if request.options is None else request.options
    if (path, options) != (recorded.path, recorded.options):
        raise InvalidOption(
            f"{volume.name} is known here: it is mounted at {recorded.path} with"
            f" {recorded.options or 'defaults'}",
            "Leave --mount and --options out.",
        )


def check_journal(mode: str) -> None:
    """Raise InvalidOption for a mode of the journal that cannot be chosen."""
    if mode not in _JOURNAL_MODES:
        raise InvalidOption(f"{mode!r} is no journal mode", f"Use {' or '.join(_JOURNAL_MODES)}.")


def check_socket_path(settings: Settings, name: str) -> None:
    """Raise InvalidOption when the gate's socket would have a path that the kernel refuses."""

    path = settings.gate_run_directory(name) / SOCKET_FILE
    if len(os.fsencode(path)) > LONGEST_SOCKET_PATH_BYTES:
        raise InvalidOption(
            f"{path} is too long for a socket: {LONGEST_SOCKET_PATH_BYTES} bytes at most",
            "Set HOLDFAST_HOME to a shorter path, or shorten the volume's name.",
        )


def _checked_mount_path(path: str) -> str:
    if not path.startswith("/") or not path.isprintable():
        raise InvalidOption(
            f"--mount {path!r} is not an absolute path", "Write it from the root: /srv/data."
        )
    normal = os.path.normpath("/" + path.lstrip("/"))
    if normal in _UNUSABLE_MOUNT_PATHS:
        raise InvalidOption(
            f"mounting over {normal} would hide the system", "Use a directory of its own."
        )
    return normal


def _checked_words(option: str, text: str) -> str:
    if not text.isprintable() or text.startswith("-"):
        raise InvalidOption(
            f"{option} {text!r} cannot be used",
            "Use printable characters, and no dash at the beginning.",
        )
    return text


def _checked_contents(text: str) -> str:
    """A container's URL, normalised, or an absolute directory. Raises BadInput, NotFound."""
    from holdfast.restoration.storage.target import is_directory

    if is_container_url(text):
        return str(parse_container_url(text))
    path = os.path.abspath(text)  # noqa: PTH100 - links stay as they are
    if not is_directory(path):
        raise NoSuchContainer(
            f"{text} is neither a directory nor a container",
            "Write a directory, or a container's URL, e.g. file:/path.img or block:/dev/name.",
        )
    return path
