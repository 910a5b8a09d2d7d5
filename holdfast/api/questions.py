"""What can be asked: each with the function that knows, and gives plain values.

Changes nothing. Runs in a process that may hang, and be killed: see `looking`.
"""

from __future__ import annotations

import heapq
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import islice
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.model.bounded import typed
from holdfast.model.drill import ALERT_STRATEGY, LIVE_STRATEGY
from holdfast.model.finding import Verdict
from holdfast.model.handle import User
from holdfast.model.moment import Timespan, parse_moment
from holdfast.model.served import UserShown
from holdfast.model.volume import check_name
from holdfast.policy.drill_schedules import due_at
from holdfast.policy.memory import Letter
from holdfast.policy.notifications import place_of
from holdfast.policy.watching import watcher
from holdfast.service import AssessRequest, Holdfast, RestoreRequest, last_drills, rewinding
from holdfast.service.seen import Shown, shown_copies, shown_volumes
from holdfast.service.under_way import restorations_under_way

MOST_RECEIPTS = 1000
"""In one answer: some MiB."""

MOST_USERS = 500
"""Processes that use a volume, in one answer."""

MOST_RECEIPT_BYTES = 8 << 20
"""Of them together: one that has thousands of processes of somebody's takes some MiB, and an answer
that is too long is none."""


def _as_values(holdfast: Holdfast, shown: Sequence[Shown]) -> list[dict[str, Any]]:
    copies = shown_copies(holdfast, [report for report, _ in shown])
    return [
        {
            **asdict(report),
            "troubles": [asdict(each) for each in troubles],
            "copies": [each.as_json() for each in copies.get(report.name, ())],
        }
        for report, troubles in shown
    ]


def _volumes(holdfast: Holdfast, unhealthy: bool = False) -> list[dict[str, Any]]:
    shown = shown_volumes(holdfast, None)
    return _as_values(holdfast, [each for each in shown if each[1] or not unhealthy])


def _volume(holdfast: Holdfast, name: str) -> dict[str, Any]:
    (volume,) = _as_values(holdfast, shown_volumes(holdfast, check_name(name)))
    return volume


def _troubles(holdfast: Holdfast) -> list[dict[str, Any]]:
    shown = shown_volumes(holdfast, None)
    return [asdict(each) for _, troubles in shown for each in troubles]


def _history(holdfast: Holdfast, name: str) -> dict[str, Any]:
    return holdfast.histories.show(check_name(name)).as_json()


def _users(holdfast: Holdfast, name: str) -> dict[str, Any]:
    usage = holdfast.users(check_name(name))
    users = sorted(usage.users, key=lambda user: len(user.handles), reverse=True)
    return {
        "volume": usage.volume,
        "mount": usage.mount,
        "users": [_counted(user) for user in users[:MOST_USERS]],
        "more": max(0, len(users) - MOST_USERS),
        "kernel": dict(Counter(str(handle.kind) for handle in usage.kernel)),
    }


def _counted(user: User) -> dict[str, Any]:
    kinds = Counter(str(handle.kind) for handle in user.handles)
    application = user.application.name
    return asdict(UserShown(user.pid, user.name, application, dict(kinds), len(user.threads)))


def _copies(holdfast: Holdfast, name: str) -> list[dict[str, Any]]:
    return [asdict(each) for each in holdfast.histories.copies.show(check_name(name))]


def _points(holdfast: Holdfast, name: str) -> list[dict[str, Any]]:
    return [asdict(each) for each in holdfast.histories.points.show(check_name(name))]


def _assessment(holdfast: Holdfast, name: str, at: str) -> dict[str, Any]:
    judged = rewinding.judged(holdfast, RestoreRequest(check_name(name), at=at))
    way, found, refused = judged.way, judged.found, judged.refused
    why = "" if refused is None else refused.message
    if found is not None and found.plan.refuses:
        why = found.plan.reason
    stopped = [] if found is None else found.as_json()["processes"]
    stopped.sort(key=lambda each: sum(each["handles"].values()), reverse=True)
    return {
        "volume": name,
        "at": at,
        "moment": judged.moment,
        "position": way.position,
        "copy": way.copy.url,
        "copy_made": way.copy.made,
        "history_bytes": way.position - way.copy.position,
        "written": way.written,
        "plan": None if found is None else found.plan.as_json(),
        "refused": why,
        "mend": "" if refused is None else refused.mend,
        "processes": stopped[:MOST_USERS],
        "more": max(0, len(stopped) - MOST_USERS),
    }


def _assess(holdfast: Holdfast, **request: Any) -> dict[str, Any]:
    return holdfast.restorations.assess(typed(AssessRequest, request)).as_json()


def _receipts(
    holdfast: Holdfast,
    volumes: Sequence[str] | None,
    since: str | None,
    until: str | None,
    limit: int,
) -> list[dict[str, Any]]:
    now = time.time()
    begun = Timespan(
        -math.inf if since is None else parse_moment(since, now),
        math.inf if until is None else parse_moment(until, now),
    )
    names = (None,) if volumes is None else tuple(map(check_name, volumes))
    most = max(1, min(limit, MOST_RECEIPTS))
    newest = heapq.merge(
        *(holdfast.receipts(name, most, begun) for name in names),
        key=lambda receipt: receipt.started,
        reverse=True,
    )
    found, size = list[dict[str, Any]](), 0
    for each in islice(newest, most):
        values = each.as_json()
        size += len(json.dumps(values))
        if found and size > MOST_RECEIPT_BYTES:
            break
        found.append(values)
    return found


def _receipt(holdfast: Holdfast, identifier: str) -> dict[str, Any]:
    return holdfast.receipt(identifier).as_json()


def _restorations(holdfast: Holdfast) -> list[dict[str, Any]]:
    return [asdict(each) for each in restorations_under_way(holdfast.catalog)]


def _watch(holdfast: Holdfast) -> dict[str, Any]:
    try:
        destinations = holdfast.alerts.destinations()
    except HoldfastError:  # the list is damaged: `troubles` says so
        destinations = []
    return {
        "watches": _is_watched(holdfast),
        # What is behind the colon may be a secret: only root may know it.
        "destinations": [each.url.partition(":")[0] for each in destinations],
        "undelivered": sum(each.waiting for each in destinations),
    }


def _alerts(holdfast: Holdfast) -> dict[str, Any]:
    destinations, post = holdfast.alerts.known()
    standing = [each for each in post.standing if not each.over]
    standing.sort(key=lambda each: (not each.grave, each.since))
    return {
        "watches": _is_watched(holdfast),
        "destinations": [_destination(url, post.letters) for url in destinations],
        "standing": [
            {
                "volume": each.volume,
                "about": each.about,
                "words": each.words,
                "mend": each.mend,
                "since": each.since,
                "told": each.told if each.is_told else None,
                "grave": each.grave,
            }
            for each in standing
        ],
    }


def _destination(url: str, letters: Sequence[Letter]) -> dict[str, Any]:
    kind, place = place_of(url)
    own = [each for each in letters if each.url == url]
    tries = own[0].tries if own else 0
    return {"kind": kind, "place": place, "waiting": len(own), "tries": tries}


def _policy(holdfast: Holdfast, name: str) -> dict[str, Any]:
    return asdict(holdfast.policies.show(check_name(name)))


def _drills(holdfast: Holdfast) -> list[dict[str, Any]]:
    planned, now = last_drills.schedules(holdfast.settings), time.time()
    found = []
    for report in holdfast.list_volumes():
        schedule = planned.get(report.name)
        last = last_drills.last_receipt(holdfast.catalog, report.name)
        others = {
            key: next(iter(holdfast.catalog.receipts(report.name, 1, strategy=strategy)), None)
            for key, strategy in (("live", LIVE_STRATEGY), ("alert", ALERT_STRATEGY))
        }
        ended = None if last is None else last.finished
        found.append(
            {
                "volume": report.name,
                "can_be_drilled": last_drills.can_be_drilled(holdfast.catalog, report),
                "every_seconds": None if schedule is None else schedule.every_seconds,
                "next_at": None if schedule is None else due_at(schedule, ended, now),
                # Its arguments may be secrets.
                "check": "" if schedule is None else schedule.check.partition(" ")[0],
                **{
                    key: None if each is None else each.as_json()
                    for key, each in {"last": last, **others}.items()
                },
            }
        )
    return found


def _doctor(holdfast: Holdfast) -> dict[str, Any]:
    findings = holdfast.doctor()
    return {
        "sufficient": all(each.verdict is not Verdict.MISSING for each in findings),
        "findings": [each.as_json() for each in findings],
    }


def _figures(holdfast: Holdfast) -> dict[str, Any]:
    volumes = _volumes(holdfast)
    return {
        "volumes": volumes,
        "copies": {each["name"]: each["copies"] for each in volumes},
        "watches": _is_watched(holdfast),
    }


def _is_watched(holdfast: Holdfast) -> bool:
    try:
        return bool(watcher(holdfast.settings.run_directory))
    except (HoldfastError, OSError):
        return False


QUESTIONS: dict[str, Callable[..., Any]] = {
    "volumes": _volumes,
    "volume": _volume,
    "troubles": _troubles,
    "history": _history,
    "users": _users,
    "copies": _copies,
    "points": _points,
    "assessment": _assessment,
    "assess": _assess,
    "restorations": _restorations,
    "watch": _watch,
    "alerts": _alerts,
    "policy": _policy,
    "drills": _drills,
    "receipts": _receipts,
    "receipt": _receipt,
    "doctor": _doctor,
    "figures": _figures,
}
