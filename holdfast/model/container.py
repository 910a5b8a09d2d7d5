"""The address of a container: `file:/path.img`, `block:/dev/name`, `kind://host:port/path?a=b`.

Values only. What a kind allows in its address is for the kind to say: see
`containers.parse_container_url`.
"""

from __future__ import annotations

from holdfast.late_dataclass import dataclass


@dataclass(frozen=True)
class ContainerUrl:
    """The parts of a container's URL. `str()` gives the URL back."""

    kind: str
    path: str
    authority: str | None = None
    """Host and port of whoever serves it; empty: nobody is named, but its URLs have a place for
    that (`kind:///path`). None: they have none (`kind:/path`)."""
    parameters: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        authority = "" if self.authority is None else f"//{self.authority}"
        words = "&".join(f"{name}={value}" for name, value in self.parameters)
        return f"{self.kind}:{authority}{self.path}{'?' if words else ''}{words}"
