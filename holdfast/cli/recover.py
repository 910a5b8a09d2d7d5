"""holdfast recover: finish or clean up what a crash left behind."""

from __future__ import annotations

from holdfast.cli.options import AsJson
from holdfast.cli.output import print_json, say
from holdfast.cli.session import session


def recover(as_json: AsJson = False) -> None:
    """Clean up what a crash left behind.

    Dead mounts, loop devices and gates that nobody serves any more are removed, what was
    interrupted is finished. Volumes that work are not touched. Repeating it is harmless.
    """
    with session() as holdfast:
        done = holdfast.recover()
    if as_json:
        print_json({"actions": done})
    elif done:
        for action in done:
            say(action)
    else:
        say("Nothing to recover.")
