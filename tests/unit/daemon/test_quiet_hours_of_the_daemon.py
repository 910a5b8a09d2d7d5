"""In quiet hours what is only a sign waits, and is told at their end: all of it, once, in order.
What fails, or was restored by itself, is told at once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.daemon import watch as watching
from holdfast.daemon.watch import Watch
from holdfast.model.trouble import Trouble
from holdfast.policy.memory import Letter, write_destinations
from holdfast.service import Holdfast


class Sent:
    """Instead of deliveries: whatever is begun has arrived."""

    def __init__(self) -> None:
        self.letters: list[Letter] = []
        self._fresh: list[Letter] = []

    def begin(self, letters: Iterable[Letter]) -> None:
        self._fresh += letters

    def finished(self) -> list[tuple[Letter, str]]:
        fresh, self._fresh = self._fresh, []
        self.letters += fresh
        return [(each, "") for each in fresh]

    def words(self) -> list[str]:
        return [f"{each.message.kind} {each.message.words}" for each in self.letters]


class Clock:
    def __init__(self) -> None:
        self.now = 1e9

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


class Host:
    """A daemon whose troubles and quiet hours a test says."""

    def __init__(self, holdfast: Holdfast, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock, self.sent, self.troubles = Clock(), Sent(), list[Trouble]()
        monkeypatch.setattr(watching, "time", self.clock)
        write_destinations(holdfast.settings.state_directory, ("command:/bin/true",))
        self.watch = Watch(holdfast)
        monkeypatch.setattr(self.watch, "_troubles", lambda: self.troubles)
        monkeypatch.setattr(self.watch, "_deliveries", self.sent)

    def look(self, quiet: str = "") -> list[str]:
        """Twice, so that a trouble settles; all that has arrived by now."""
        self.watch._quiet = frozenset({quiet} if quiet else ())
        for _ in range(2):
            self.watch.look()
            self.clock.now += 10.0
        for _ in range(20):
            self.watch._deliver()
        return self.sent.words()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_HOME", str(tmp_path))


def sign(volume: str, about: str, words: str, *, grave: bool = False) -> Trouble:
    return Trouble(volume, words, "", about, grave)


@pytest.mark.usefixtures("home")
def test_what_waits_is_told_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with Holdfast(Settings()) as holdfast:
        host = Host(holdfast, monkeypatch)
        host.troubles = [sign("data", "room", "full"), sign("logs", "room", "full, too")]
        assert host.look("data") == ["raised full, too"], "others are told"
        host.troubles = [sign("data", "leg 2", "slow"), sign("data", "policy", "restored")]
        assert host.look("data")[1:] == ["ended full, too", "raised restored"]
        host.troubles = [sign("data", "leg 2", "failed", grave=True)]
        *_, before, grave = [each for each in host.look("data") if "ended" not in each]
        assert [before, grave] == ["raised slow", "raised failed"], "the sign is told before"
        host.troubles = []
        assert "ended failed" in host.look("data"), "who was woken is told that it is over"
        assert [each for each in host.sent.words() if each.endswith("full")] == []
        again = Watch(holdfast)
        assert {each.message.words for each in again._post.letters} == {"full"}, "a restart"
        assert host.look()[-2:] == ["raised full", "ended full"]
        known = host.sent.words()
        assert len(known) == len({each.message.id for each in host.sent.letters})
        assert host.look() == known, "none twice"
