"""Ways to tell somebody: a command, a webhook, mail. One file each; the list is here.

Owns that nothing which is told to keeps anybody waiting: each attempt is made in a child.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from holdfast.errors import HoldfastError, InvalidOption, NotDelivered
from holdfast.policy.message import Message
from holdfast.policy.notifications.command import CommandNotification
from holdfast.policy.notifications.mail import MailNotification
from holdfast.policy.notifications.protocol import SECONDS, Notification
from holdfast.policy.notifications.webhook import WebhookNotification
from holdfast.system.children.errand import Errand
from holdfast.system.children.expendable import in_expendable_child

NOTIFICATIONS: dict[str, Notification] = {
    each.scheme: each for each in (CommandNotification(), WebhookNotification(), MailNotification())
}

ATTEMPT_SECONDS = SECONDS + 5.0
"""The child has some seconds to say itself that it took too long."""

_MOST_WORDS = 1000
"""Characters that fit into what an errand says, whoever wrote them."""


def check_destination(url: str) -> None:
    """Raise InvalidOption unless this can be told to. Asks nobody."""
    _split(url)


def place_of(url: str) -> tuple[str, str]:
    """The way and where it leads, without what may be a secret. Raises InvalidOption."""
    way, rest = _split(url)
    return way.scheme, way.place(rest)


def deliver(url: str, message: Message) -> None:
    """Tell one destination; blocks for 25 s at most. Raises NotDelivered, InvalidOption."""
    way, rest = _split(url)
    try:
        in_expendable_child(partial(way.send, rest, message), ATTEMPT_SECONDS, url)
    except NotDelivered:
        raise
    except (HoldfastError, OSError, ValueError) as error:
        raise NotDelivered(f"{url} was not told: {error}", "holdfast alert test") from error


def begin_delivery(url: str, message: Message) -> Errand[str]:
    """Tell one destination while the caller does something else. It answers once: why it was not
    told, empty when it was. Whoever began it ends it after ATTEMPT_SECONDS. Raises OSError.
    """
    return Errand(partial(_attempt, url, message))


def _attempt(url: str, message: Message, tell: Callable[[str], None]) -> None:
    try:
        way, rest = _split(url)
        way.send(rest, message)
    except HoldfastError as error:
        tell(error.message[:_MOST_WORDS])
    except (OSError, ValueError) as error:
        tell(f"{url} was not told: {error}"[:_MOST_WORDS])
    else:
        tell("")


def _split(url: str) -> tuple[Notification, str]:
    scheme, separator, rest = url.partition(":")
    way = NOTIFICATIONS.get(scheme)
    if way is None or not separator:
        examples = ", ".join(each.example for each in NOTIFICATIONS.values())
        raise InvalidOption(f"{url!r} is nobody that can be told", f"E.g. {examples}.")
    if not rest.isprintable() or len(url) > 2000:
        raise InvalidOption(
            f"{url!r} is no destination", "Without control characters, and shorter."
        )
    way.check(rest)
    return way, rest
