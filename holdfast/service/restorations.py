"""What one can ask of Holdfast about restorations: assess, migrate, restore, park and go on.

Reached through `Holdfast.restorations`. Owns the way only: rights, the turn on the volume, and that
what a dead runner left is settled before something new begins. Must never decide what is possible:
`restoration.assess` does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from holdfast.errors import (
    Blocked,
    HoldfastError,
    InvalidOption,
    NoSuchContainer,
    NothingStuck,
    VolumeHeld,
)
from holdfast.model.container import parse_container_url
from holdfast.model.plan import BY_REFLEX, Cause, Strategy
from holdfast.model.receipt import Receipt
from holdfast.model.recovery import Left
from holdfast.model.restoration import Copy, Restoration, Stage
from holdfast.model.volume import LegState, VolumeReport, VolumeState, check_name
from holdfast.restoration.assess import Assessment, assess
from holdfast.restoration.origin import is_container
from holdfast.restoration.performing import Percent, Say, perform
from holdfast.restoration.recovery import abandon, go_on, recover_one
from holdfast.restoration.seen import Request
from holdfast.restoration.stale import rebind_stale
from holdfast.restoration.target import is_directory, place_beside
from holdfast.service.following import wait_until_in_sync
from holdfast.service.rights import need_root
from holdfast.service.turn import turn
from holdfast.system.boot import boot_id
from holdfast.system.filesystem import kind_of

if TYPE_CHECKING:
    from holdfast.service.holdfast import Holdfast

DEADLINE_SECONDS = 60.0
"""Half of the kernel's hung-task watchdog (120 s): nobody stays stopped longer."""
BUDGET_SHARE = 0.5
"""A pause that is predicted to take more of the deadline than this is not begun without --force."""


class Restorations:
    """Restorations on this host."""

    def __init__(self, holdfast: Holdfast) -> None:
        self._holdfast = holdfast
        self._settings = holdfast.settings

    # Asking

    def assess(
        self,
        name: str,
        strategy: Strategy | None = None,
        url: str = "",
        filesystem: str = "",
        contents: str = "",
        deadline_seconds: float = DEADLINE_SECONDS,
        forced: bool = False,
        *,
        more_urls: Sequence[str] = (),
        spare_urls: Sequence[str] = (),
    ) -> Assessment:
        """What would happen, and what is in the way. Changes nothing. Raises NotAttached.

        `more_urls`: further legs of a gated volume that is to be moved; `spare_urls`: its spares.
        """
        need_root()
        request = self._request(name, strategy, url, filesystem, contents, deadline_seconds, forced)
        request = replace(
            request,
            more_urls=tuple(str(parse_container_url(each)) for each in more_urls),
            spare_urls=tuple(str(parse_container_url(each)) for each in spare_urls),
        )
        others = [each for each in self._holdfast.catalog.volumes() if each.name != name]
        adopted = request.volume.is_adopted
        report = None if adopted else self._holdfast.show_volume(name)
        return assess(self._settings, request, report, others)

    def copies(self, name: str | None = None) -> list[Copy]:
        """Copies of a volume, or of all, newest first."""
        return self._holdfast.catalog.restorations.copies(name)

    def in_progress(self, name: str) -> Restoration | None:
        """The restoration of this volume that has begun and not ended."""
        return self._holdfast.catalog.restorations.of(name)

    # Doing

    def migrate(
        self,
        name: str,
        url: str,
        filesystem: str = "",
        deadline_seconds: float = DEADLINE_SECONDS,
        forced: bool = False,
        say: Say = lambda words: None,
        percent: Percent = lambda percent: None,
        *,
        more_urls: Sequence[str] = (),
        spare_urls: Sequence[str] = (),
    ) -> Receipt | None:
        """Move a volume to another container under its users; durable on return.

        `more_urls`: further legs, in sync on return as well; `spare_urls`: its spares, those it has
        if none. A gated volume that keeps its type of file system is not dismounted: the gate fills
        the new container and lets the old ones go (None is returned: its receipts are the gate's
        own). Raises what keeps it from being begun, with nothing touched.
        """
        url = str(parse_container_url(url))
        found = self._settled(name, say)

        def look() -> Assessment:
            return self.assess(
                name,
                Strategy.MIGRATE,
                url,
                filesystem,
                "",
                deadline_seconds,
                forced,
                more_urls=more_urls,
                spare_urls=spare_urls,
            )

        if found is not None and look().plan.strategy in BY_REFLEX:
            self._replace_legs(found, (url, *more_urls), spare_urls, percent)
            return None
        receipt = self._perform(name, look, say, percent)
        for each in map(str, map(parse_container_url, more_urls)):
            say(f"bring {each} up to date")
            wait_until_in_sync(lambda: self._holdfast.show_volume(name), each, percent)
        return receipt

    def restore(
        self,
        name: str,
        contents: str = "",
        to: str = "",
        filesystem: str = "",
        deadline_seconds: float = DEADLINE_SECONDS,
        forced: bool = False,
        say: Say = lambda words: None,
        percent: Percent = lambda percent: None,
    ) -> Receipt | None:
        """Put contents in place of the present ones, or mount a broken volume anew.

        The present storage stays as it is, and is remembered as a copy. Raises as `migrate`.
        """
        self._settled(name, say)

        def look() -> Assessment:
            found = self.assess_restore(name, contents, to, filesystem, deadline_seconds, forced)
            if found.plan.strategy in BY_REFLEX:
                raise Blocked(
                    f"nothing is to be restored: {found.plan.reason}",
                    "Name other contents with --from DIRECTORY or --from CONTAINER.",
                )
            return found

        return self._perform(name, look, say, percent)

    def assess_restore(
        self,
        name: str,
        contents: str = "",
        to: str = "",
        filesystem: str = "",
        deadline_seconds: float = DEADLINE_SECONDS,
        forced: bool = False,
    ) -> Assessment:
        """What `restore` would do. Changes nothing."""
        need_root()
        volume = self._holdfast.catalog.volume(check_name(name))
        if not contents:
            assessment = self.assess(name, None, "", "", "", deadline_seconds, forced)
            if assessment.plan.cause is Cause.PLANNED:
                raise InvalidOption(
                    f"{name} is healthy, and no other contents were named",
                    "Say where they are: --from DIRECTORY or --from CONTAINER.",
                )
            return assessment
        contents = _checked_contents(contents)
        url = to or place_beside(volume, os.urandom(4).hex())
        return self.assess(
            name, Strategy.REWIND, url, filesystem, contents, deadline_seconds, forced
        )

    def rebind(
        self,
        name: str,
        deadline_seconds: float = DEADLINE_SECONDS,
        dry_run: bool = False,
    ) -> tuple[str, ...]:
        """Move handles that lead to a mount which is gone to the one that is there now.

        What was, or would be, moved, in words. Raises Blocked with nothing touched.
        """
        need_root()
        with turn(self._settings, check_name(name)):
            volume = self._holdfast.catalog.volume(name)
            catalog = self._holdfast.catalog
            return rebind_stale(self._settings, catalog, volume, deadline_seconds, dry_run)

    # An adopted volume that is away while its users wait

    def park(
        self, name: str, deadline_seconds: float, say: Say = lambda words: None
    ) -> VolumeReport:
        """Dismount an adopted volume under its users, who wait for `go_on` until the deadline.

        Raises Blocked with nothing touched. After the deadline they run on with errors in place of
        their files.
        """
        self._settled(name, say)
        self._perform(
            name,
            lambda: self.assess(name, Strategy.DETACH, deadline_seconds=deadline_seconds),
            say,
            lambda percent: None,
        )
        volume = self._holdfast.catalog.volume(name)
        self._holdfast.catalog.update(replace(volume, attached=False))
        return self._holdfast.show_volume(name)

    def waiting(self, name: str) -> bool:
        """Whether its users were parked and it waits to be attached again, in time or not.

        The caller has the turn, and has settled what is of an earlier boot.
        """
        found = self.in_progress(name)
        return found is not None and found.stage is Stage.WAITING

    def go_on(self, name: str, say: Say = lambda words: None) -> Receipt:
        """Mount a parked volume again and let its users go on. The caller has the turn."""
        found = self.in_progress(name)
        assert found is not None
        return go_on(self._settings, self._holdfast.catalog, found, say)

    # After a death

    def recover(self) -> list[str]:
        """Finish or undo what killed runners left; what was done, in words. Idempotent.

        What another command is at work on is left to it.
        """
        done = []
        for found in self._holdfast.catalog.restorations.all():
            try:
                with turn(self._settings, found.volume, wait_seconds=0.5):
                    now = self._holdfast.catalog.restorations.of(found.volume)
                    if now is not None and now.id == found.id:
                        done.append(recover_one(self._settings, self._holdfast.catalog, now))
            except HoldfastError as error:
                done.append(Left(f"the {found.strategy} of {found.volume} was left: {error}"))
        return done

    def abandon(self, name: str) -> list[str]:
        """Give up a restoration that can be neither finished nor undone; what is left, in words.

        Raises WrongState when there is none.
        """
        need_root()
        with turn(self._settings, check_name(name)):
            found = self.in_progress(name)
            if found is None:
                raise NothingStuck(
                    f"no restoration of {name} has begun and not ended",
                    "holdfast recover says what there is.",
                )
            return abandon(self._settings, self._holdfast.catalog, found)

    # How it is done

    def _perform(
        self, name: str, look: Callable[[], Assessment], say: Say, percent: Percent
    ) -> Receipt | None:
        """What `look` finds when nobody else can change the volume any more is carried out."""
        with turn(self._settings, name):
            return perform(self._settings, self._holdfast.catalog, look(), say, percent)

    def settle(self, name: str, say: Say = lambda words: None) -> None:
        """Finish or undo what a dead runner left of this volume; the caller has the turn.

        One that waits on purpose is left, in the boot of the host in which it began to. Raises
        what keeps it from being finished or undone.
        """
        found = self.in_progress(name)
        if found is None:
            return
        if found.stage is not Stage.WAITING or found.boot_id != boot_id():
            say(recover_one(self._settings, self._holdfast.catalog, found))

    def _settled(self, name: str, say: Say) -> VolumeReport | None:
        """After what a dead runner left was finished or undone: a gated volume; None: adopted."""
        need_root()
        found = self.in_progress(check_name(name))
        if found is not None:
            with turn(self._settings, name):
                self.settle(name, say)
        if self._holdfast.catalog.volume(name).is_adopted:
            return None
        report = self._holdfast.show_volume(name)
        if report.state is VolumeState.HELD:
            raise VolumeHeld(
                f"{name} is held: its dirty data cannot be written",
                f"Bring a leg back or add one, or holdfast volume release {name}.",
            )
        return report

    def _replace_legs(
        self, report: VolumeReport, urls: Sequence[str], spare_urls: Sequence[str], percent: Percent
    ) -> None:
        """The gate's own way: fill other legs, then let the present ones go. Spares stay, unless
        others are named."""
        legs, name = self._holdfast.legs, report.name
        first, *others = [leg for leg in report.legs if leg.state is not LegState.SPARE]
        url, *more = urls
        legs.replace(name, first.id, url, percentage=percent)
        for each in more:
            legs.add(name, each, percentage=percent)
        for leg in others:
            legs.remove(name, leg.id)
        if spare_urls:
            for each in spare_urls:
                legs.add(name, each, spare=True)
            for leg in report.legs:
                if leg.state is LegState.SPARE:
                    legs.remove(name, leg.url)

    def _request(
        self,
        name: str,
        strategy: Strategy | None,
        url: str,
        filesystem: str,
        contents: str,
        deadline_seconds: float,
        forced: bool,
    ) -> Request:
        volume = self._holdfast.catalog.volume(check_name(name))
        if filesystem:
            kind_of(filesystem)
        if contents:
            contents = _checked_contents(contents)
            url = url or place_beside(volume, os.urandom(4).hex())
        return Request(
            volume=volume,
            strategy=strategy,
            url=url,
            filesystem=filesystem,
            contents=contents,
            deadline_seconds=deadline_seconds,
            pause_budget_seconds=deadline_seconds * BUDGET_SHARE,
            forced=forced,
        )


def _checked_contents(text: str) -> str:
    """A container's URL, normalised, or an absolute directory. Raises BadInput, NotFound."""
    if is_container(text):
        return str(parse_container_url(text))
    path = os.path.abspath(text)  # noqa: PTH100 - links stay as they are
    if not is_directory(path):
        raise NoSuchContainer(
            f"{text} is neither a directory nor a container",
            "Write a directory, file:/path.img or block:/dev/name.",
        )
    return path
