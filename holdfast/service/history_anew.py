"""A history that is begun when its volume is restored, by whoever is there then.

Invariant: it is written down before the volume is restored that one is to begin, and forgotten when
it has begun, or the volume was not restored: so who is killed in between leaves it to `recover`.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from holdfast.copies.records import HistoryAnewRecords
from holdfast.errors import AtWork, HoldfastError
from holdfast.model.history import HistoryAnew, HistoryPlace
from holdfast.model.recovery import BeingDone, Left
from holdfast.service.histories import Histories, place_of
from holdfast.service.host import Host


class HistoriesAnew:
    """Those of this host's volumes."""

    def __init__(self, host: Host, histories: Histories) -> None:
        self._host = host
        self._histories = histories
        self._records = HistoryAnewRecords(host.settings)

    @contextmanager
    def after(self, name: str, place: HistoryPlace | None) -> Iterator[None]:
        """Begin it after the block, in which the volume is restored; None: nothing is begun.

        Raises what `Histories.keep` does, of a volume that is restored and in use.
        """
        if place is None:
            yield
            return
        volume_id = self._host.volume(name).id
        owed = HistoryAnew(uuid.uuid4().hex, name, time.time(), volume_id, **place.as_json())
        self._records.save(owed)
        try:
            yield
        except Exception:
            if not self._is_to_begin(owed):
                self._records.remove(owed)
            raise
        try:
            self._begin(owed)
        except HoldfastError as error:
            self._records.remove(owed)  # who asked for it is told
            error.message += f"; {name} itself is restored, and in use"
            error.args = (error.message,)
            raise

    def settle(self) -> list[str]:
        """Begin those that dead commands left, of volumes that were restored; in words."""
        said: list[str] = []
        try:
            owing = self._records.all()
        except HoldfastError as error:
            return [Left(f"histories were not begun: {error}")]
        for owed in owing:
            name = owed.volume
            try:
                with self._host.turn(name, f"see whether a history of {name} is to begin", 0.0):
                    is_to_begin = self._is_to_begin(owed)
                    if not is_to_begin and not self._is_unfinished(name):
                        self._records.remove(owed)
                if is_to_begin:
                    self._begin(owed)
                    said.append(f"the history of {name} was begun in {owed.directory}")
            except HoldfastError as error:
                kind = BeingDone if isinstance(error, AtWork) else Left
                said.append(
                    kind(f"the history of {name} in {owed.directory} was not begun: {error}")
                )
        return said

    def _begin(self, owed: HistoryAnew) -> None:
        place = owed.place
        self._histories.keep(
            owed.volume, place.directory, place.keep_seconds, place.limit_bytes, place.on_failure
        )
        self._records.remove(owed)

    def _is_to_begin(self, owed: HistoryAnew) -> bool:
        """Whether the volume was restored since, and nobody has begun a history of it."""
        found = [each for each in self._host.catalog.volumes() if each.name == owed.volume]
        if not found or found[0].is_adopted or found[0].id == owed.volume_id:
            return False
        return place_of(self._histories.configuration(owed.volume)) is None

    def _is_unfinished(self, name: str) -> bool:
        return self._host.catalog.restorations.heading(name) is not None
