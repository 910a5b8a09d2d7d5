"""The part of `holdfast recover` that is about gates."""

from __future__ import annotations

from holdfast.config import Settings
from holdfast.service.host import Host
from holdfast.service.settling import settle_gates


def recover(settings: Settings) -> list[str]:
    """Clean up after every volume whose gate died; what was done, in words."""
    return settle_gates(Host(settings))
