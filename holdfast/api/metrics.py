"""Figures for Prometheus: what a question gave, as text (exposition format 0.0.4).

Invariant: base units (seconds, bytes, ratios); labels are names of volumes, numbers of legs and
words of ours, so that there are some forty series for a volume, and none for a process, a path or a
receipt. What somebody alerts on (packaging/prometheus) keeps its name. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any

from holdfast.late_dataclass import dataclass
from holdfast.model.volume import LegState, VolumeState

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_MILLISECONDS = 1e-3


@dataclass(frozen=True)
class Metric:
    """One name, and what it is."""

    name: str
    kind: str
    """gauge · counter."""
    words: str


_Sample = tuple[str, Mapping[str, str], float]
"""The name without `holdfast_`, labels, value."""

METRICS = (
    Metric("build_info", "gauge", "1, with the version of who answers."),
    Metric("daemon_watches", "gauge", "Whether holdfast daemon watches."),
    Metric("volumes", "gauge", "How many there are."),
    Metric("volume_state", "gauge", "1 for the state that the volume is in."),
    Metric("volume_wanted", "gauge", "Whether it was attached and not detached on purpose."),
    Metric("volume_size_bytes", "gauge", "What it holds at most."),
    Metric("volume_troubles", "gauge", "What is wrong with it; grave: something fails already."),
    Metric("volume_frozen", "gauge", "Whether processes stand still for it."),
    Metric("volume_legs", "gauge", "Its legs, by state."),
    Metric("leg_resync_ratio", "gauge", "How far a leg that is filled is, 0 to 1."),
    Metric("gate_held", "gauge", "Whether its requests wait."),
    Metric("gate_requests_total", "counter", "Requests that were answered, by kind."),
    Metric("gate_requests_in_flight", "gauge", "Requests that are not answered yet."),
    Metric("gate_errors_returned_total", "counter", "Requests that were answered by an error."),
    Metric("gate_takeovers_total", "counter", "How often another worker went on."),
    Metric("gate_longest_wait_seconds", "gauge", "The longest that any request has waited."),
    Metric("gate_resident_memory_bytes", "gauge", "Memory of the worker."),
    Metric("gate_history_written", "gauge", "Whether every write is kept; absent: not asked for."),
    Metric(
        "copy_behind_seconds", "gauge", "How long its copies that follow have lacked something."
    ),
    Metric(
        "copy_behind_bytes", "gauge", "How much of the history they lack. Of the one behind most."
    ),
    Metric("jobs_running", "gauge", "Operations that the API has begun and that go on."),
    Metric("jobs_ended_total", "counter", "How many ended how, since the API began."),
    Metric("api_connections", "gauge", "Who is connected."),
    Metric("api_event_streams", "gauge", "Who listens to a job."),
)


@dataclass(frozen=True)
class OwnFigures:
    """What the process that serves knows of itself."""

    version: str
    connections: int
    streams: int
    jobs_running: int
    jobs_ended: Mapping[str, int] = field(default_factory=dict)


def exposition(found: Mapping[str, Any], own: OwnFigures) -> str:
    """The text. `found`: what the question `figures` gives."""
    samples = [*_host(found, own)]
    for volume in found["volumes"]:
        samples += _volume(volume)
        samples += _copies(volume["name"], found["copies"].get(volume["name"], ()))
    lines = []
    for metric in METRICS:
        mine = [each for each in samples if each[0] == metric.name]
        if mine:
            lines.append(f"# HELP holdfast_{metric.name} {metric.words}")
            lines.append(f"# TYPE holdfast_{metric.name} {metric.kind}")
            lines += [_line(*each) for each in mine]
    return "\n".join(lines) + "\n"


def _host(found: Mapping[str, Any], own: OwnFigures) -> Iterator[_Sample]:
    yield "build_info", {"version": own.version}, 1
    yield "daemon_watches", {}, found["watches"]
    yield "volumes", {}, len(found["volumes"])
    yield "jobs_running", {}, own.jobs_running
    for end in ("finished", "failed", "interrupted", "died"):
        yield "jobs_ended_total", {"end": end}, own.jobs_ended.get(end, 0)
    yield "api_connections", {}, own.connections
    yield "api_event_streams", {}, own.streams


def _volume(volume: Mapping[str, Any]) -> Iterator[_Sample]:
    about = {"volume": volume["name"]}
    for state in VolumeState:
        yield "volume_state", {**about, "state": state}, volume["state"] == state
    yield "volume_wanted", about, volume["wanted"]
    yield "volume_size_bytes", about, volume["size_bytes"]
    for words, grave in (("yes", True), ("no", False)):
        count = sum(each["grave"] is grave for each in volume["troubles"])
        yield "volume_troubles", {**about, "grave": words}, count
    yield "volume_frozen", about, volume["frozen_until"] is not None
    for each in LegState if volume["legs"] else ():
        count = sum(leg["state"] == each for leg in volume["legs"])
        yield "volume_legs", {**about, "state": each}, count
    for leg in volume["legs"]:
        if leg["resync_percent"] is not None:
            labels = {**about, "leg": str(leg["number"])}
            yield "leg_resync_ratio", labels, leg["resync_percent"] / 100
    if volume["gate"] is not None:
        yield from _gate(about, volume["gate"])


def _gate(about: Mapping[str, str], gate: Mapping[str, Any]) -> Iterator[_Sample]:
    yield "gate_held", about, gate["held"]
    for kind, count in gate["requests"].items():
        yield "gate_requests_total", {**about, "kind": kind}, count
    yield "gate_requests_in_flight", about, gate["in_flight"]
    yield "gate_errors_returned_total", about, gate["errors_returned"]
    yield "gate_takeovers_total", about, gate["takeovers"]
    yield "gate_longest_wait_seconds", about, gate["longest_wait_ms"] * _MILLISECONDS
    yield "gate_resident_memory_bytes", about, gate["resident_bytes"]
    if gate["journal"].get("mode") == "continuous":
        written = gate["journal"].get("history_state") == "written"
        yield "gate_history_written", about, written


def _copies(volume: str, copies: Sequence[Mapping[str, Any]]) -> Iterator[_Sample]:
    """Of those that follow."""
    for key in ("behind_seconds", "behind_bytes") if copies else ():
        yield f"copy_{key}", {"volume": volume}, max(each[key] for each in copies)


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    """Labels hold names of volumes and words of ours: nothing in them needs to be escaped."""
    text = ",".join(f'{key}="{each}"' for key, each in labels.items())
    return f"holdfast_{name}{{{text}}} {float(value):.17g}"
