"""A volume that is held: why nothing can be begun that writes its dirty data, and what ends it."""

from __future__ import annotations

from holdfast.errors import VolumeHeld


def held(name: str, reason: str, *, on_purpose: bool) -> VolumeHeld:
    """The error to raise. `reason`: the hold's own, for people; `on_purpose`: an administrator's
    hold alone, so that every leg is well. Pure."""
    words = f"{name} is held ({reason})" if reason else f"{name} is held"
    if on_purpose:
        return VolumeHeld(
            f"{words}, on purpose: nothing is written to it until it is released",
            f"holdfast volume release {name}, then try again.",
        )
    return VolumeHeld(
        f"{words}: its dirty data cannot be written",
        f"Bring a leg back or add one, or holdfast volume release {name}.",
    )
