"""What `volume show` says of a volume: the gate's word, the mount table, the block device.

Never blocks on storage: the gate answers from memory, everything else is /proc and /sys. Works
when the gate is gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from holdfast.config import Settings
from holdfast.errors import GateGone, HoldfastError
from holdfast.gate.members.configuration import GateConfiguration, load_configuration
from holdfast.gate.outside.client import GateClient
from holdfast.gate.processes.remains import working_processes
from holdfast.model.plan import Cause
from holdfast.model.version import UNTOLD
from holdfast.model.volume import (
    GateReport,
    LegReport,
    LegState,
    Volume,
    VolumeReport,
    VolumeState,
)
from holdfast.system.resources.own_group import memory_limit
from holdfast.volumes.stack.examine import Stack, examine_stack

_ANSWER_SECONDS = 5.0
"""A gate answers from memory, within milliseconds; one that takes longer is stopped or dead."""

_SILENT = "its gate works and does not answer: it waits for its storage, or another worker begins"


def report_volume(settings: Settings, volume: Volume) -> VolumeReport:
    """The volume as it is now. Blocks 5 s at most; does not raise for a gate that is gone."""
    stack = examine_stack(settings, volume.name)
    shown = _ask_gate(settings, volume.name)
    run_directory = settings.gate_run_directory(volume.name)
    lives = shown is None and not stack.is_empty and bool(working_processes(run_directory))
    configuration = _read_configuration(settings, volume.name)
    mounted = stack.mount_of(volume.mount.path)
    legs = _legs(volume, configuration, shown, lives=lives)
    state, reason, mend = _condition(volume, stack, shown, legs)
    if lives:
        state, reason = VolumeState.HELD, _SILENT
        mend = f"Look again: holdfast status {volume.name}"
    return VolumeReport(
        name=volume.name,
        kind=volume.kind,
        state=state,
        mount=volume.mount.path,
        filesystem=volume.mount.filesystem,
        size_bytes=int(shown["size_bytes"]) if shown else volume.size_bytes,
        device=mounted.source if mounted else stack.device,
        id=volume.id,
        options=volume.mount.options,
        label=volume.mount.label,
        uuid=volume.mount.uuid,
        journal=str(configuration.journal if configuration else volume.journal),
        epoch=int(shown["epoch"]) if shown else (configuration.epoch if configuration else 0),
        legs=legs,
        gate=_gate(shown) if shown else None,
        reason=reason,
        mend=mend,
        wanted=volume.attached,
        lost_by=Cause.LOST if shown and legs_are_lost(shown) else None,
    )


def legs_are_lost(shown: Mapping[str, Any]) -> bool:
    """Whether a gate, as it shows itself, holds requests because no leg is left."""
    has_source = any(leg["state"] == LegState.IN_SYNC for leg in shown["legs"])
    return bool(shown["hold_reason"]) and not shown["held_on_purpose"] and not has_source


def _ask_gate(settings: Settings, name: str) -> dict[str, Any] | None:
    try:
        return GateClient(settings.gate_run_directory(name), _ANSWER_SECONDS).show()
    except GateGone:
        return None


def _read_configuration(settings: Settings, name: str) -> GateConfiguration | None:
    try:
        return load_configuration(settings.gate_state_directory(name))
    except HoldfastError:
        return None


def _condition(
    volume: Volume, stack: Stack, shown: dict[str, Any] | None, legs: tuple[LegReport, ...]
) -> tuple[VolumeState, str, str]:
    """Its state; why, and what mends it, where neither its legs nor its hold say so."""
    mounted = stack.mount_of(volume.mount.path)
    attach = f"holdfast volume attach {volume.name}"
    if shown is None and stack.is_empty:
        return VolumeState.DETACHED, "", ""
    if shown is None:
        return VolumeState.FAILED, "its gate does not run", f"holdfast recover, then {attach}"
    if shown["held"]:
        return VolumeState.FAILED if shown["hold_expired"] else VolumeState.HELD, "", ""
    if mounted is None and volume.attached:
        return VolumeState.FAILED, f"it is not mounted at {volume.mount.path}", attach
    if mounted is None:
        return VolumeState.DETACHED, "", ""
    members = [leg for leg in legs if leg.state is not LegState.SPARE]
    in_sync = [leg for leg in members if leg.state is LegState.IN_SYNC]
    if shown["nameless"] and not mounted.read_only:
        return VolumeState.DEGRADED, "", ""
    if mounted.read_only and "ro" not in volume.mount.options.split(","):
        mend = f"holdfast restore {volume.name}"
        return VolumeState.FAILED, "its file system refuses to write, after errors", mend
    if not in_sync:
        return VolumeState.FAILED, "", ""
    return VolumeState.HEALTHY if len(in_sync) == len(members) else VolumeState.DEGRADED, "", ""


def _legs(
    volume: Volume,
    configuration: GateConfiguration | None,
    shown: dict[str, Any] | None,
    *,
    lives: bool,
) -> tuple[LegReport, ...]:
    """The gate's word when it answers; otherwise what was recorded, and nothing is in use unless
    the gate `lives`."""
    if shown is not None:
        legs = [
            LegReport(
                number=int(leg["number"]),
                id=str(leg["id"]),
                url=str(leg["url"]),
                state=LegState(leg["state"]),
                resync_percent=leg.get("resync_percent"),
                reason=str(leg.get("reason") or ""),
                times={str(kind): tuple(each) for kind, each in leg.get("times", {}).items()},
            )
            for leg in shown["legs"]
        ]
        spares = list(shown["spares"])
    elif configuration is not None:
        legs = [
            LegReport(
                leg.number,
                leg.id,
                leg.url,
                leg.state if lives else _resting(leg.state),
                reason=leg.reason,
            )
            for leg in configuration.legs
        ]
        spares = list(configuration.spare_urls)
    else:
        legs = [
            LegReport(number, "", url, LegState.DETACHED)
            for number, url in enumerate(volume.leg_urls, 1)
        ]
        spares = list(volume.spare_urls)
    return (*legs, *(LegReport(0, "", str(url), LegState.SPARE) for url in spares))


def _resting(state: LegState) -> LegState:
    """A leg without a gate is detached, unless it needs attention even so."""
    return LegState.DETACHED if state in (LegState.IN_SYNC, LegState.RESYNCING) else state


def _memory_limit(worker_pid: int) -> int | None:
    with suppress(OSError):  # it has ended meanwhile
        return memory_limit(worker_pid)
    return None


def _gate(shown: dict[str, Any]) -> GateReport:
    return GateReport(
        keeper_pid=int(shown["keeper_pid"]),
        worker_pid=int(shown["worker_pid"]),
        held=bool(shown["held"]),
        hold_reason=str(shown["hold_reason"] or ""),
        hold_deadline=shown["hold_deadline"],
        in_flight=int(shown["in_flight"]),
        takeovers=int(shown["takeovers"]),
        errors_returned=int(shown["errors_returned"]),
        longest_wait_ms=float(shown["longest_wait_ms"]),
        requests={str(kind): int(count) for kind, count in shown["requests"].items()},
        journal=dict(shown["journal"]),
        resident_bytes=int(shown["resident_bytes"]),
        memory_limit_bytes=_memory_limit(int(shown["worker_pid"])),
        io_flusher=bool(shown.get("io_flusher")),
        version=str(shown.get("version", UNTOLD)),
        compiled=bool(shown.get("compiled")),
        standby_bytes=int(shown.get("standby_bytes", 0)),
        held_on_purpose=bool(shown.get("held_on_purpose")),
        read_bytes=int(shown.get("read_bytes", 0)),
        written_bytes=int(shown.get("written_bytes", 0)),
        served_ms=float(shown.get("served_ms", 0.0)),
    )
