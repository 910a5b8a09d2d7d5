"""Doctor: whether anybody is told when something is wrong with a volume."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.config import Settings
from holdfast.model.finding import Finding, Verdict
from holdfast.policy.memory import read_destinations
from holdfast.policy.watching import watcher

_MEANING = "A volume that is degraded waits for somebody who looks: holdfast status --check."


def telling(settings: Settings) -> Iterator[Finding]:
    """Gates act by themselves; a person has to replace what has failed."""
    urls = read_destinations(settings.state_directory)
    if not urls:
        mend = "holdfast alert add command:/PATH, webhook:URL or mail:ADDRESS."
        yield Finding("alerts", Verdict.LIMITED, "nobody is told", _MEANING, mend)
        return
    pid = watcher(settings.run_directory)
    if pid:
        found = f"{len(urls)} told by process {pid}"
        yield Finding("alerts", Verdict.OK, found)
    else:
        mend = "Let holdfast daemon run: packaging/holdfast-daemon.service."
        yield Finding("alerts", Verdict.LIMITED, "no daemon watches", _MEANING, mend)
