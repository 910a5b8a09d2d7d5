"""Nothing was begun: it cannot be done in the present state of the volume, or of the API."""

from __future__ import annotations

from holdfast.errors.families import WrongState


class NotAttached(WrongState):
    """The volume is detached: holdfast volume attach NAME."""

    code = "DETACHED"


class VolumeHeld(WrongState):
    """The volume is held: requests wait. Dismounting it now would wait as well, until the
    deadline. Release it, bring a leg back, or add one."""

    code = "HELD"


class AlreadyFrozen(WrongState):
    """The processes that use the volume are frozen already: holdfast thaw continues them; at the
    deadline they continue by themselves."""

    code = "FROZEN"


class NotFrozen(WrongState):
    """Nobody is frozen for this volume: thawed before, or at the deadline."""

    code = "THAWED"


class GateGone(WrongState):
    """The volume is mounted but its gate does not answer: both of its processes are gone, or
    stopped. holdfast recover cleans up; holdfast volume attach starts it again."""

    code = "GATE"


class HasNoGate(WrongState):
    """The volume was adopted: there is no gate below it that could hold requests, no legs, no
    journal. holdfast volume gate gives it one under its users."""

    code = "NOGATE"


class HasGate(WrongState):
    """The volume has a gate already. holdfast leg add gives it another leg, holdfast migrate other
    storage; holdfast volume ungate makes it a plain mount."""

    code = "GATED"


class TooMany(WrongState):
    """The API does as much as it will do at the same time: connections, listeners, questions, jobs.
    Ask again when some of that has ended."""

    code = "TOOMANY"


class NoHistory(WrongState):
    """No history of the volume is kept, so a copy of it could not be brought to any moment:
    holdfast history NAME --at DIRECTORY begins one."""

    code = "NOHISTORY"


class NotLost(WrongState):
    """A leg of the volume serves, or its gate does not know yet that none does, so that no copy may
    take the place of its legs: what is written to the one would be missing in the other. Another
    leg: holdfast leg add."""

    code = "NOTLOST"


class NotVanished(WrongState):
    """The path is in the volume now, so there is no moment before it vanished: name a time. What
    was put in its place since counts, too."""

    code = "STILLTHERE"


class NothingStuck(WrongState):
    """There is no restoration of this volume that has begun and not ended, so none can be
    abandoned."""

    code = "NOTSTUCK"
