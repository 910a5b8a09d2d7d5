"""Where Holdfast keeps its things on this host, read once from the environment."""

from __future__ import annotations

import os
from dataclasses import field
from pathlib import Path

from holdfast.late_dataclass import dataclass


def _home_of_environment() -> Path | None:
    home = os.environ.get("HOLDFAST_HOME")
    return Path(home) if home else None


@dataclass(frozen=True)
class Settings:
    """`HOLDFAST_HOME` moves state and run time under one folder; otherwise /var/lib and /run."""

    home: Path | None = field(default_factory=_home_of_environment)

    def __post_init__(self) -> None:
        """Gates run in / and must find the same folder as the command that started them."""
        object.__setattr__(self, "home", self.home.absolute() if self.home else None)

    @property
    def state_directory(self) -> Path:
        """Catalog, journals, gate state: survives a reboot, never on a managed volume."""
        return self.home / "state" if self.home else Path("/var/lib/holdfast")

    @property
    def run_directory(self) -> Path:
        """Sockets, counters, device mount points: gone after a reboot."""
        return self.home / "run" if self.home else Path("/run/holdfast")

    @property
    def api_socket(self) -> Path:
        """Where the API listens; not in the run directory, which only root may enter."""
        folder = self.home / "api" if self.home else Path("/run/holdfast-api")
        return folder / "api.sock"

    @property
    def catalog_path(self) -> Path:
        """The SQLite catalog."""
        return self.state_directory / "catalog.sqlite"

    def gate_state_directory(self, volume: str) -> Path:
        """What the gate of one volume must find again after a crash: gate.json, journal, spool."""
        return self.state_directory / "gates" / volume

    def gate_run_directory(self, volume: str) -> Path:
        """The gate's device file, control socket and counters."""
        return self.run_directory / "gates" / volume
