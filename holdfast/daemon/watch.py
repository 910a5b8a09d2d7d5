"""The loop: look at every volume, do what its policy says, decide what is to be said, write that
down, deliver it.

Owns that nothing which is hung stops it: each look at a volume and each delivery has its own limit.
Killed anywhere, the next one goes on.
"""

from __future__ import annotations

import logging
import select
import socket
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace

from holdfast.daemon.acting import SOURCE, Acting
from holdfast.daemon.deliveries import Deliveries
from holdfast.daemon.drilling import SOURCE as DRILLS
from holdfast.daemon.drilling import Drilling
from holdfast.daemon.following import SOURCE as FOLLOWING
from holdfast.daemon.following import Follower
from holdfast.daemon.preempting import Preempting
from holdfast.daemon.recent import RecentReports
from holdfast.daemon.schedules import SOURCE as SCHEDULES
from holdfast.daemon.schedules import Scheduler
from holdfast.daemon.sources import Sources
from holdfast.detection.trends import SOURCE as TRENDS
from holdfast.errors import HoldfastError
from holdfast.model.evidence import Evidence
from holdfast.model.trouble import Trouble, troubles_of
from holdfast.model.volume import VolumeReport
from holdfast.policy.alerting import SETTLE_SECONDS, Saying, decide
from holdfast.policy.disruptions import disruptions
from holdfast.policy.made_up import made_up
from holdfast.policy.memory import (
    GIVEN_UP_SECONDS,
    MOST_LETTERS,
    Letter,
    Post,
    at_once,
    read_destinations,
    read_post,
    write_post,
)
from holdfast.policy.message import Message, cut
from holdfast.policy.readiness import SOURCE as READINESS
from holdfast.policy.turns_of_letters import LetterTurns
from holdfast.service import Holdfast
from holdfast.service.readiness import unready
from holdfast.volumes.recover import record_ends

_log = logging.getLogger(__name__)

_SETTLED_SECONDS = SETTLE_SECONDS + 0.2
"""After the look that saw a trouble first it has stood long enough to be told."""

_ATTEMPTS_SECONDS = 1.0
"""How often attempts to tell somebody are looked after that have not ended by themselves."""

_JOB_SECONDS = 1.0
"""Between two looks while a volume is restored."""

_READINESS_SECONDS = 60.0
"""Between two looks at the copies and contents that are there for a later day."""

_NEWS_SECONDS = 1.0
"""Between two looks that nobody asked for but the kernel: a host that mounts all the time."""


class Watch:
    """One daemon's life; for one thread."""

    def __init__(self, holdfast: Holdfast) -> None:
        self._holdfast = holdfast
        self._state = holdfast.settings.state_directory
        self._host = socket.gethostname()
        self._post = self._last_post()
        self._evidence = self._post.evidence
        self._sources = Sources(holdfast.settings, self._evidence)
        self._acting = Acting(holdfast)
        self._drilling = Drilling(holdfast)
        self._follower = Follower(holdfast)
        self._unfollowed: tuple[Evidence, ...] = ()
        self._scheduler = Scheduler(holdfast)
        self._unmade: tuple[Evidence, ...] = ()
        self._unrestored: tuple[Evidence, ...] = ()
        self._undrilled: tuple[Evidence, ...] = ()
        self._preempting = Preempting(holdfast)
        self._worse: tuple[Evidence, ...] = ()
        self._unready: tuple[Evidence, ...] = ()
        self._unready_until = 0.0
        """Monotonic seconds."""
        self._recent = RecentReports()
        self._has_news = False
        self._quiet: frozenset[str] = frozenset()
        """Volumes whose quiet hours it is."""
        self._deliveries = Deliveries()
        self._turns = LetterTurns()
        self._failing: dict[str, str] = {}
        """What of our own work fails, and how: said once for as long as it does."""

    def go_on(self, interval_seconds: float) -> None:
        """Look again and again; returns never, but for KeyboardInterrupt."""
        while True:
            began = time.monotonic()
            self.try_to_look()
            seconds = interval_seconds
            if any(not each.told and not each.over for each in self._post.standing):
                seconds = min(seconds, _SETTLED_SECONDS)
            if self._acting.waits:
                seconds = min(seconds, _JOB_SECONDS)
            self._deliver_until(began + seconds)

    def try_to_look(self) -> None:
        """As `look`; what is raised is logged, once for as long as it is the same."""
        try:
            self.look()
        except (HoldfastError, OSError, ValueError) as error:
            self._fails("looking", f"nobody was told anything: {error}")
        else:
            self._works("looking")

    def look(self) -> None:
        """Look at every volume once, and begin to deliver what is due.

        What is decided is durable before it is sent. Raises HoldfastError, OSError, ValueError when
        it cannot be read who is to be told.
        """
        troubles = self._troubles()
        urls = read_destinations(self._state)
        now = time.time()
        standing, said = decide(self._post.standing, troubles, now)
        for saying in said:
            _log.warning("%s: %s: %s", saying.standing.volume, saying.kind, saying.standing.words)
        letters = tuple(each for each in self._post.letters if each.url in urls)
        for saying in said:
            about = "" if not saying.may_wait else saying.standing.about
            if not about:
                letters = at_once(letters, saying.standing.volume, saying.standing.about)
            message = self._message(saying, now)
            letters += tuple(Letter(message, url, quiet_about=about) for url in urls)
        for letter in letters[:-MOST_LETTERS]:
            _log.error("%s was not told, too many wait: %s", letter.url, letter.message.subject)
        self._keep(Post(standing, letters[-MOST_LETTERS:], self._evidence))
        self._deliver()

    def _troubles(self) -> list[Trouble]:
        """What is wrong now; where that cannot be found out, what was, and that."""
        try:
            troubled = {each.volume for each in self._post.standing if not each.over}
            is_news = self._sources.has_news() or self._has_news
            recent = self._recent.usable(troubled, is_news=is_news)
            self._has_news = False
            record_ends(self._holdfast.settings)
            reports = self._holdfast.list_volumes(recent)
            self._recent.note(reports)
        except (HoldfastError, OSError) as error:
            known = (each for each in self._post.standing if each.volume and not each.over)
            before = [
                Trouble(each.volume, each.words, each.mend, each.about, each.grave)
                for each in known
            ]
            words = f"its volumes cannot be looked at: {error}"
            return [*before, Trouble("", words, "holdfast doctor", "looking")]
        self._look_further(reports)
        self._act(reports)
        troubles = [trouble for report in reports for trouble in troubles_of(report)]
        return list(disruptions(troubles, self._evidence))

    def _look_further(self, reports: Sequence[VolumeReport]) -> None:
        """What a report does not say; where that cannot be seen now, as the last time."""
        try:
            seen = self._sources.look(reports)
            self._evidence = (*seen, *made_up(self._state, time.time()))
        except (HoldfastError, OSError) as error:
            self._fails("detecting", f"volumes are looked at from outside only: {error}")
        else:
            self._works("detecting")

    def _act(self, reports: Sequence[VolumeReport]) -> None:
        """Do what policies say; where that is not known, what was begun goes on."""
        others = (SOURCE, READINESS, FOLLOWING, SCHEDULES, DRILLS, TRENDS)
        seen = tuple(each for each in self._evidence if each.source not in others)
        try:
            self._unrestored = self._acting.look(reports, seen)
        except (HoldfastError, OSError) as error:
            self._fails("acting", f"nothing is done by itself: {error}")
        else:
            self._works("acting")
        self._look_after_history(reports)
        self._look_ahead(reports)
        self._note_quiet()
        self._drill(reports, seen)
        self._preempt(reports)
        own = (*self._unrestored, *self._unfollowed, *self._unmade, *self._unready)
        self._evidence = (*seen, *own, *self._undrilled, *self._worse)

    def _note_quiet(self) -> None:
        """Whose quiet hours it is; where that is not known, nobody's."""
        self._quiet = frozenset()
        try:
            standings = self._holdfast.catalog.policies.all()
        except (HoldfastError, OSError, ValueError) as error:
            self._fails("quiet hours", f"no time is quiet: {error}")
        else:
            self._works("quiet hours")
            now = time.time()
            self._quiet = frozenset(
                name for name, each in standings.items() if each.policy.quiet_hours.is_quiet(now)
            )

    def _preempt(self, reports: Sequence[VolumeReport]) -> None:
        """Legs that get worse."""
        try:
            self._worse = self._preempting.look(reports, self._quiet)
        except (HoldfastError, OSError) as error:
            self._fails("trends", f"it is not seen whether legs get worse: {error}")
        else:
            self._works("trends")

    def _drill(self, reports: Sequence[VolumeReport], seen: Sequence[Evidence]) -> None:
        """Begin the drill that is due, where nothing is wrong."""
        troubled = {each.volume for each in (*seen, *self._unrestored)}
        troubled |= {each.name for each in reports if troubles_of(each)}
        try:
            self._undrilled = self._drilling.look(reports, troubled | self._quiet)
        except (HoldfastError, OSError, ValueError) as error:
            self._fails("drills", f"no drill is begun by itself: {error}")
        else:
            self._works("drills")

    def _look_after_history(self, reports: Sequence[VolumeReport]) -> None:
        """Copies that follow, and points on a schedule."""
        try:
            self._unfollowed = self._follower.look(reports)
        except (HoldfastError, OSError) as error:
            self._fails("following", f"copies are not brought on: {error}")
        else:
            self._works("following")
        try:
            self._unmade = self._scheduler.look(reports)
        except (HoldfastError, OSError) as error:
            self._fails("points", f"no points are made: {error}")
        else:
            self._works("points")

    def _look_ahead(self, reports: Sequence[VolumeReport]) -> None:
        """What would not serve when it is needed, now and then."""
        now = time.monotonic()
        if now < self._unready_until:
            return
        self._unready_until = now + _READINESS_SECONDS
        settings, catalog = self._holdfast.settings, self._holdfast.catalog
        try:
            self._unready = unready(settings, catalog, reports, is_watched=True)
        except (HoldfastError, OSError) as error:
            self._fails("looking ahead", f"copies and policies are not looked at: {error}")
        else:
            self._works("looking ahead")

    def _message(self, saying: Saying, now: float) -> Message:
        about = saying.standing
        return Message(
            str(uuid.uuid4()),
            saying.kind,
            about.volume,
            cut(about.words),
            cut(about.mend),
            about.since,
            now,
            self._host,
        )

    def _deliver_until(self, moment: float) -> None:
        """Deliver what is due until then (monotonic seconds), or until there is news."""
        deaf_until = time.monotonic() + _NEWS_SECONDS
        while (left := moment - (now := time.monotonic())) > 0:
            listens = now >= deaf_until
            errands = self._deliveries.errands()
            poller = select.poll()
            for errand in errands:
                poller.register(errand, select.POLLIN)
            if listens:
                self._sources.register(poller)
            else:
                left = min(left, deaf_until - now)
            poller.poll(1000 * (min(left, _ATTEMPTS_SECONDS) if errands else left))
            self._deliver()
            if listens:
                self._has_news = self._sources.has_news()
                if self._has_news:
                    return
                deaf_until = time.monotonic() + _NEWS_SECONDS

    def _deliver(self) -> None:
        """See how attempts went, and begin with what is due."""
        now = time.time()
        for letter, error in self._deliveries.finished():
            if error:
                _log.warning("%s: %s", letter.message.subject, error)
                self._turns.failed(letter, self._post.letters)
            else:
                self._turns.taken(letter, self._post.letters)
            self._replace(letter, (letter.failed(error, now),) if error else ())
        for letter in self._post.letters:
            if now - letter.message.at > GIVEN_UP_SECONDS:
                _log.error("%s was not told in a week: %s", letter.url, letter.message.subject)
                self._replace(letter, ())
        try:
            letters = [each for each in self._post.letters if not self._waits(each)]
            self._deliveries.begin(self._turns.next_ones(letters, now))
        except OSError as error:
            self._fails("telling", f"nobody can be told: {error}")
        else:
            self._works("telling")

    def _waits(self, letter: Letter) -> bool:
        """Until quiet hours end."""
        return bool(letter.quiet_about) and letter.message.volume in self._quiet

    def _replace(self, letter: Letter, by: Sequence[Letter]) -> None:
        """Take it out, or another one in its place; nothing where its destination was removed."""
        if letter in self._post.letters:
            at = self._post.letters.index(letter)
            letters = (*self._post.letters[:at], *by, *self._post.letters[at + 1 :])
            self._keep(replace(self._post, letters=letters))

    def _keep(self, post: Post) -> None:
        """Write it down; on a disk that is full somebody is told all the same, twice perhaps."""
        if post == self._post:
            return
        self._post = post
        try:
            write_post(self._state, post)
        except (HoldfastError, OSError) as error:
            self._fails("writing", f"what is said cannot be written down: {error}")
        else:
            self._works("writing")

    def _last_post(self) -> Post:
        try:
            return read_post(self._state)
        except (OSError, ValueError) as error:
            _log.error("what was said before is not known, and is said again: %s", error)
            return Post()

    def _fails(self, what: str, words: str) -> None:
        if self._failing.get(what) != words:
            _log.error("%s", words)
        self._failing[what] = words

    def _works(self, what: str) -> None:
        self._failing.pop(what, None)
