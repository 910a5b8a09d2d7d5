"""The way from a fault to whoever is told of it, gone once and measured: `drill_alert`.

A trouble is made up, which says so; the daemon sees it as it sees others, waits as it does, and
tells everybody, of its end, too. Must never make up more than one at a time.
"""

from __future__ import annotations

import time
import uuid

from holdfast.coordination import COORDINATOR
from holdfast.coordination.turn import WAIT_SECONDS
from holdfast.errors import DeadlinePassed, HoldfastError, InvalidOption, NotDelivered
from holdfast.model.drill import ALERT_STRATEGY
from holdfast.model.receipt import Receipt
from holdfast.model.reporter import SILENT, Reporter
from holdfast.model.volume import check_name
from holdfast.policy.made_up import LONGEST_SECONDS, MadeUp, end_made_up, make_up
from holdfast.policy.memory import Post, read_post
from holdfast.policy.readiness import START_DAEMON
from holdfast.policy.watching import watcher
from holdfast.service.course import Course
from holdfast.service.drilling import AlertDrillRequest
from holdfast.service.holdfast import Holdfast
from holdfast.service.rights import need_root

SEEN = "the daemon sees it"
SETTLED = "it stands long enough to be told"
TAKEN = "everybody takes it"

_POLL_SECONDS = 0.05

_TURN = ".drill-alert"
"""No volume has such a name."""


def drill_alert(
    holdfast: Holdfast, request: AlertDrillRequest, reporter: Reporter = SILENT
) -> Receipt:
    """Have everybody told of a trouble that is made up; how long that took is on its receipt.

    Durable. Blocks until everybody was told, five minutes at most; whoever is told hears of its end
    some seconds later. Killed anywhere, it is over after that time. Raises InvalidOption when there
    is nobody to be told, NotDelivered when no daemon watches, AtWork.
    """
    need_root()
    name = holdfast.catalog.volume(check_name(request.volume)).name
    settings = holdfast.settings
    urls = [each.url for each in holdfast.alerts.destinations()]
    if not urls:
        raise InvalidOption(
            "nobody is told when something is wrong",
            "holdfast alert add command:/PATH, webhook:URL or mail:ADDRESS.",
        )
    if not watcher(settings.run_directory):
        raise NotDelivered("no daemon watches: nobody would be told", START_DAEMON)
    with COORDINATOR.turn(settings.run_directory, _TURN, WAIT_SECONDS):
        course, failure = Course(reporter), None
        drill = MadeUp(name, uuid.uuid4().hex, course.began)
        try:
            make_up(settings.state_directory, drill)
            _follow(holdfast, drill, urls, course)
        except HoldfastError as error:
            failure = error
        finally:
            end_made_up(settings.state_directory)
        course.end(failed=failure is not None)
        cause = "drill of the way from a fault to whoever is told"
        worked = "everybody was told"
        return course.receipt(
            holdfast.catalog, name, ALERT_STRATEGY, cause, worked=worked, failure=failure
        )


def _follow(holdfast: Holdfast, drill: MadeUp, urls: list[str], course: Course) -> None:
    """Watch the daemon's own book of it until everybody has taken it. Raises DeadlinePassed."""
    deadline = time.monotonic() + LONGEST_SECONDS
    waiting, said, errors = list(urls), SEEN, dict[str, str]()
    course.reporter.say(said)
    while waiting:
        post = _post(holdfast)
        standing = next((each for each in post.standing if each.about == drill.about), None)
        if standing is not None:
            now_is = TAKEN if standing.is_told else SETTLED
            if now_is != said:
                said = now_is
                course.reporter.say(said)
        if said == TAKEN:  # written down together with the letters
            letters = {each.url: each for each in post.letters if each.message.words == drill.words}
            errors |= {url: each.error for url, each in letters.items() if each.error}
            for url in [each for each in waiting if each not in letters]:
                waiting.remove(url)
                course.verify(f"{url} took it after {time.time() - drill.began:.1f} s")
        if waiting and time.monotonic() > deadline:
            words = "; ".join(f"{url}: {errors.get(url, 'nothing was heard')}" for url in waiting)
            raise DeadlinePassed(
                f"not told in {LONGEST_SECONDS:g} s: {words}",
                "holdfast alert test tells what they say; see the daemon's log.",
            )
        if waiting and errors.keys() >= set(waiting):
            words = "; ".join(f"{url}: {errors[url]}" for url in waiting)
            raise NotDelivered(f"it was not taken: {words}", "Mend that; holdfast alert test.")
        time.sleep(_POLL_SECONDS)


def _post(holdfast: Holdfast) -> Post:
    """The daemon replaces it whole."""
    try:
        return read_post(holdfast.settings.state_directory)
    except (OSError, ValueError):
        return Post()
