"""What one can ask of Holdfast about restorations: assess, migrate, restore, park and go on.

Reached through `Holdfast.restorations`. Owns the way only: rights, the turn on the volume, and that
what a dead runner left is settled before something new begins. Must never decide what is possible:
`restoration.assessing` does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from holdfast.errors import Blocked, HoldfastError, InvalidOption, NothingStuck
from holdfast.model.plan import BY_REFLEX, Cause, Strategy
from holdfast.model.receipt import Receipt
from holdfast.model.reporter import SILENT, Reporter
from holdfast.model.restoration import Copy, Restoration, RestorationStage
from holdfast.model.source import NOTHING_KNOWN, Source
from holdfast.model.volume import LegState, VolumeReport, VolumeState, check_name
from holdfast.restoration.assessing.assess import Assessment, assess
from holdfast.restoration.assessing.facts import CheckedRequest
from holdfast.restoration.performing.abandoning import abandon
from holdfast.restoration.performing.perform import perform
from holdfast.restoration.performing.recovery import go_on, recover_one, remove_left_directories
from holdfast.restoration.performing.stale import rebind_stale
from holdfast.service.gating import GateRequest, UngateRequest
from holdfast.service.host import Host
from holdfast.service.legs import Legs, as_reported
from holdfast.service.requests import (
    DEADLINE_SECONDS,
    AssessRequest,
    MigrateRequest,
    check_socket_path,
)
from holdfast.service.restore_request import RestoreRequest
from holdfast.service.resynchronisation import wait_until_in_sync
from holdfast.service.rights import need_root
from holdfast.service.settling import settle_one
from holdfast.system.boot import boot_id
from holdfast.volumes.checks.held import held

ChangeOfKind = GateRequest | UngateRequest


class Restorations:
    """Restorations on this host."""

    def __init__(self, host: Host, legs: Legs) -> None:
        self._host = host
        self._legs = legs

    # Asking

    def assess(
        self,
        request: AssessRequest | MigrateRequest | ChangeOfKind | RestoreRequest,
        source: Source = NOTHING_KNOWN,
    ) -> Assessment:
        """What would happen, and what is in the way. Changes nothing.

        `source`: what is known of the contents that a volume is restored from.

        Raises NotAttached, BadInput; InvalidOption when nothing is to be restored; HasGate,
        HasNoGate for a volume that is of that kind already.
        """
        need_root()
        if not isinstance(request, AssessRequest):
            self._refuse_held(request.volume)
        if isinstance(request, RestoreRequest):
            return self._assess_restore(request, source)
        if isinstance(request, MigrateRequest):
            request = request.as_assess_request()
        if isinstance(request, GateRequest):
            check_socket_path(self._host.settings, request.volume)
        return self._assess(request)

    def copies(self, name: str | None = None) -> list[Copy]:
        """Copies of a volume, or of all, newest first."""
        return self._host.catalog.restorations.copies(name)

    def in_progress(self, name: str) -> Restoration | None:
        """The restoration of this volume that has begun and not ended."""
        return self._host.catalog.restorations.of(name)

    # Doing

    def migrate(self, request: MigrateRequest, reporter: Reporter = SILENT) -> Receipt | None:
        """Move a volume to another container under its users; durable on return.

        A gated volume that keeps its type of file system is not dismounted: the gate fills the new
        containers and lets the old ones go (None is returned: its receipts are the gate's own).
        Raises what keeps it from being begun, with nothing touched.
        """
        name, receipt = request.volume, None
        self.settled(name, reporter)
        with self._host.turn(name, f"assess {name}, and migrate it unless its gate can"):
            found = self.assess(request)
            is_for_the_gate = found.plan.strategy in BY_REFLEX
            if not is_for_the_gate:
                receipt = perform(self._host.settings, self._host.catalog, found, reporter)
        if is_for_the_gate:
            # Legs are filled without the turn, which is taken for each change of them.
            self._replace_legs(found.facts.request, reporter)
            return None
        self.wait_for_legs(name, found.facts.request.urls, reporter)
        return receipt

    def change_kind(self, request: ChangeOfKind, reporter: Reporter = SILENT) -> Receipt:
        """Give an adopted volume a gate and legs under its users, or take them; durable on return.

        Raises what keeps it from being begun, with nothing touched. Legs that cannot be brought up
        to date are told by an error when the volume has its gate already.
        """
        name = request.volume
        self.settled(name, reporter)
        with self._host.turn(name, f"assess {name}, and change its kind"):
            found = self.assess(request)
            receipt = perform(self._host.settings, self._host.catalog, found, reporter)
        assert receipt is not None  # nobody is left to wait for another command
        self.wait_for_legs(name, found.facts.request.urls, reporter)
        return receipt

    def restore(
        self, request: RestoreRequest, reporter: Reporter = SILENT, source: Source = NOTHING_KNOWN
    ) -> Receipt | None:
        """Put contents in place of the present ones, or mount a broken volume anew.

        `source`: what is known of the contents. The present storage stays as it is, and is
        remembered as a copy. Further legs are filled when `wait_for_legs` ends. Raises as
        `migrate`.
        """
        self.settled(request.volume, reporter)

        def look() -> Assessment:
            found = self.assess(request, source)
            if found.plan.strategy in BY_REFLEX:
                raise Blocked(
                    f"nothing is to be restored: {found.plan.reason}",
                    "Name other contents with --from DIRECTORY or --from CONTAINER.",
                )
            return found

        return self._perform(request.volume, look, reporter)

    def remount(self, name: str, deadline_seconds: float, reporter: Reporter = SILENT) -> Receipt:
        """Mount an adopted volume that is well anew from its own storage, under its users; durable.

        Raises Blocked with nothing touched.
        """
        request = AssessRequest(name, Strategy.REMOUNT, deadline_seconds=deadline_seconds)
        self.settled(name, reporter)
        receipt = self._perform(name, lambda: self.assess(request), reporter)
        assert receipt is not None  # nobody is left to wait for another command
        return receipt

    def wait_for_legs(self, name: str, urls: Sequence[str], reporter: Reporter = SILENT) -> None:
        """Until its gate has filled the legs behind the first one. Raises what keeps it from
        that."""
        for url in urls[1:]:
            reporter.say(f"bring {url} up to date")
            try:
                wait_until_in_sync(lambda: self._host.show(name), url, reporter.percent)
            except HoldfastError as error:
                error.message += f"; {name} itself is on {urls[0]} already, and in use"
                error.args = (error.message,)
                raise

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
        with self._host.turn(name, f"rebind {name}"):
            volume, catalog = self._host.volume(name), self._host.catalog
            return rebind_stale(self._host.settings, catalog, volume, deadline_seconds, dry_run)

    # An adopted volume that is away while its users wait

    def park(self, name: str, deadline_seconds: float, reporter: Reporter = SILENT) -> VolumeReport:
        """Dismount an adopted volume under its users, who wait for `go_on` until the deadline.

        Raises Blocked with nothing touched. After the deadline they run on with errors in place of
        their files.
        """
        request = AssessRequest(name, Strategy.DETACH, deadline_seconds=deadline_seconds)
        self.settled(name, reporter)
        self._perform(name, lambda: self.assess(request), reporter)
        self._host.catalog.update(replace(self._host.volume(name), attached=False))
        return self._host.show(name)

    def waiting(self, name: str) -> bool:
        """Whether its users were parked and it waits to be attached again, in time or not.

        The caller has the turn, and has settled what is of an earlier boot.
        """
        found = self.in_progress(name)
        return found is not None and found.stage is RestorationStage.WAITING

    def go_on(self, name: str, reporter: Reporter = SILENT) -> Receipt:
        """Mount a parked volume again and let its users go on. The caller has the turn."""
        found = self.in_progress(name)
        assert found is not None
        return go_on(self._host.settings, self._host.catalog, found, reporter.say)

    # After a death

    def recover(self) -> list[str]:
        """Finish or undo what killed runners left; what was done, in words. Idempotent.

        What another command is at work on is left to it.
        """
        done, entries = [], self._host.catalog.restorations

        def recover_if_still(id_: str, volume: str) -> list[str]:
            now = entries.of(volume)
            if now is None or now.id != id_:
                return []
            return [recover_one(self._host.settings, self._host.catalog, now)]

        for found in entries.headings():
            settle = partial(recover_if_still, found.id, found.volume)
            subject = f"the {found.strategy} of {found.volume}"
            done += settle_one(self._host, found.volume, subject, settle)
        remove_left_directories(self._host.settings, self._host.catalog)
        return done

    def abandon(self, name: str) -> list[str]:
        """Give up a restoration that can be neither finished nor undone; what is left, in words.

        Also one whose record cannot be read. Raises WrongState when there is none.
        """
        need_root()
        with self._host.turn(name, f"abandon the restoration of {name}"):
            found = self._host.catalog.restorations.heading(name)
            if found is None:
                raise NothingStuck(
                    f"no restoration of {name} has begun and not ended",
                    "holdfast recover says what there is.",
                )
            return abandon(self._host.settings, self._host.catalog, found)

    def settle(self, name: str, reporter: Reporter = SILENT) -> None:
        """Finish or undo what a dead runner left of this volume; the caller has the turn.

        One that waits on purpose is left, in the boot of the host in which it began to. Raises
        what keeps it from being finished or undone.
        """
        found = self.in_progress(name)
        if found is None:
            return
        if found.stage is not RestorationStage.WAITING or found.boot_id != boot_id():
            reporter.say(recover_one(self._host.settings, self._host.catalog, found))

    def settled(self, name: str, reporter: Reporter) -> None:
        """Settle what a dead runner left. Raises VolumeHeld where nothing can be begun."""
        need_root()
        if self._host.catalog.restorations.of(check_name(name)) is not None:
            with self._host.turn(name, f"settle what a dead command left of {name}"):
                self.settle(name, reporter)
        self._refuse_held(name)

    # How it is done

    def _refuse_held(self, name: str) -> None:
        """Raise VolumeHeld where nothing can be begun."""
        if self._host.volume(name).is_adopted:
            return
        report = self._host.show(name)
        if report.state is VolumeState.HELD and report.gate is not None:
            gate = report.gate
            raise held(name, gate.hold_reason, on_purpose=gate.held_on_purpose)

    def _assess(self, request: AssessRequest | ChangeOfKind) -> Assessment:
        need_root()
        volume, report = self._host.volume(request.volume), None
        if not volume.is_adopted:
            report = self._host.show(request.volume)
            volume = as_reported(volume, report)
            if isinstance(request, UngateRequest) and request.in_place:
                request = request.on_a_leg_in_sync(report)
        checked = request.checked(volume)
        others = [each for each in self._host.catalog.volumes() if each.name != request.volume]
        return assess(self._host.settings, checked, report, others)

    def _assess_restore(self, request: RestoreRequest, source: Source) -> Assessment:
        if request.at or request.undo:  # taken for none, a broken mount would be mounted anew
            raise InvalidOption(
                "contents that are to be found first were named",
                "Call service.perform, or service.intended for what would happen.",
            )
        request.check_still(self._host.volume(request.volume))
        found = self._assess(request.as_assess_request(source))
        if not request.contents and found.plan.cause is Cause.PLANNED:
            raise InvalidOption(
                f"{request.volume} is healthy, and no other contents were named",
                "Say where they are: --from DIRECTORY or --from CONTAINER.",
            )
        return found

    def _perform(
        self, name: str, look: Callable[[], Assessment], reporter: Reporter
    ) -> Receipt | None:
        """What `look` finds when nobody else can change the volume any more is carried out."""
        with self._host.turn(name, f"a restoration of {name}"):
            return perform(self._host.settings, self._host.catalog, look(), reporter)

    def _replace_legs(self, request: CheckedRequest, reporter: Reporter) -> None:
        """The gate's own way: fill other legs, then let the present ones go. Spares stay, unless
        others are named."""
        name = request.volume.name
        report = self._host.show(name)
        first, *others = [leg for leg in report.legs if leg.state is not LegState.SPARE]
        self._legs.replace(name, first.id, request.url, percentage=reporter.percent)
        for url in request.more_urls:
            self._legs.add(name, url, percentage=reporter.percent)
        for leg in others:
            self._legs.remove(name, leg.id)
        if request.spare_urls:
            for url in request.spare_urls:
                self._legs.add(name, url, spare=True)
            for leg in report.legs:
                if leg.state is LegState.SPARE:
                    self._legs.remove(name, leg.url)
