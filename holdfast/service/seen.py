"""Volumes with everything that is wrong with them, also what the daemon's sources see: `status`.

Owns that nobody is shown what a daemon saw that does not watch any more. Loads little: `status` is
asked often.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from holdfast.config import Settings
from holdfast.errors import HoldfastError
from holdfast.model.evidence import Evidence
from holdfast.model.trouble import Trouble, troubles_of
from holdfast.model.volume import VolumeReport
from holdfast.policy.disruptions import disruptions
from holdfast.policy.made_up import SOURCE as MADE_UP
from holdfast.policy.memory import read_post
from holdfast.policy.readiness import SOURCE
from holdfast.policy.watching import watcher
from holdfast.service.readiness import unready

if TYPE_CHECKING:
    from holdfast.model.following import FollowingReport
    from holdfast.service.holdfast import Holdfast

Shown = tuple[VolumeReport, tuple[Trouble, ...]]
"""A volume, and what is wrong with it, gravest first."""


def shown_volumes(holdfast: Holdfast, name: str | None) -> list[Shown]:
    """Every volume, or the one of that name, as it is. Changes nothing. Raises NoSuchVolume."""
    reports = holdfast.status() if name is None else [holdfast.show_volume(name)]
    evidence = (*seen(holdfast.settings), *_unready(holdfast, reports))
    return [(report, _wrong_with(report, evidence)) for report in reports]


def shown_copies(
    holdfast: Holdfast, reports: Sequence[VolumeReport]
) -> dict[str, list[FollowingReport]]:
    """How well the copies that follow these volumes do so, by volume; none where that cannot be
    found out."""
    if not (holdfast.settings.state_directory / "following").is_dir():
        return {}
    from holdfast.service.following import following_of

    with suppress(HoldfastError, OSError):
        return following_of(holdfast.settings, reports)
    return {}


def _unready(holdfast: Holdfast, reports: Sequence[VolumeReport]) -> tuple[Evidence, ...]:
    """What would not serve when it is needed; none where that cannot be found out."""
    with suppress(HoldfastError, OSError):
        is_watched = bool(watcher(holdfast.settings.run_directory))
        return unready(holdfast.settings, holdfast.catalog, reports, is_watched=is_watched)
    return ()


def _wrong_with(report: VolumeReport, evidence: Iterable[Evidence]) -> tuple[Trouble, ...]:
    """What it says itself, what the daemon has seen of it, and what is not ready for it."""
    own = [each for each in evidence if each.volume == report.name]
    return disruptions(troubles_of(report), own)


def seen(settings: Settings) -> tuple[Evidence, ...]:
    """As of the daemon's last look; none when none watches, or where it cannot be read."""
    with suppress(HoldfastError, OSError, ValueError):
        if watcher(settings.run_directory):
            found = read_post(settings.state_directory).evidence
            return tuple(each for each in found if each.source not in (SOURCE, MADE_UP))
    return ()
