"""Restorations that have begun and not ended, as anybody may look at them: from the catalog alone.

Changes nothing, waits for nobody: what is shown was written down before it was done.
"""

from __future__ import annotations

import time
from contextlib import suppress

from holdfast.catalog import Catalog
from holdfast.errors import HoldfastError, UnreadableRecord
from holdfast.model.restoration import Restoration
from holdfast.model.served import ProcessShown, RestorationShown, StepShown
from holdfast.restoration.records.record import RestorationRecord, read_record

MOST_PROCESSES = 200
"""That are named; a restoration can stop thousands."""


def restorations_under_way(catalog: Catalog) -> list[RestorationShown]:
    """All of them, oldest first; of one whose entry is damaged what can be read."""
    found = []
    for heading in catalog.restorations.headings():
        try:
            restoration = catalog.restorations.of(heading.volume)
        except UnreadableRecord:
            found.append(_unreadable(heading.id, heading.volume, heading.strategy))
            continue
        if restoration is not None:  # else it has ended meanwhile
            found.append(_shown(restoration))
    return found


def _unreadable(identifier: str, volume: str, strategy: str) -> RestorationShown:
    return RestorationShown(identifier, volume, strategy, "", 0.0, "unreadable")


def _shown(restoration: Restoration) -> RestorationShown:
    record: RestorationRecord | None = None
    with suppress(HoldfastError, ValueError):
        record = read_record(restoration)
    steps = []
    for name in restoration.step_names:
        step = restoration.record_of(name)
        steps.append(
            StepShown(str(name), "waiting")
            if step is None
            else StepShown(str(name), str(step.state), step.started, step.seconds, step.outcome)
        )
    deadline = None
    if restoration.deadline_ns:
        deadline = time.time() + (restoration.deadline_ns - time.monotonic_ns()) / 1e9
    stopping = None if record is None else record.stopping
    frozen = () if record is None or record.frozen is None else record.frozen.processes
    return RestorationShown(
        id=restoration.id,
        volume=restoration.volume,
        strategy=str(restoration.strategy),
        cause=restoration.cause,
        started=restoration.started,
        stage=str(restoration.stage),
        steps=tuple(steps),
        frozen_at=None if stopping is None else stopping.frozen_at,
        deadline=deadline,
        predicted_pause_seconds=None if record is None else record.intent.predicted_pause_seconds,
        processes=tuple(ProcessShown(*each) for each in frozen[:MOST_PROCESSES]),
    )
