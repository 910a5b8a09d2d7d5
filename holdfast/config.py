"""Where Holdfast keeps its things on this host, read once from the environment."""

from __future__ import annotations

from pathlib import Path

from pydantic import field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """`HOLDFAST_HOME` moves state and run time under one folder; otherwise /var/lib and /run."""

    model_config = SettingsConfigDict(env_prefix="HOLDFAST_", env_ignore_empty=True, frozen=True)

    home: Path | None = None

    @field_validator("home")
    @classmethod
    def _from_the_root(cls, home: Path | None) -> Path | None:
        """Gates run in / and must find the same folder as the command that started them."""
        return home.absolute() if home else None

    @property
    def state_directory(self) -> Path:
        """Catalog, journals, gate state: survives a reboot, never on a managed volume."""
        return self.home / "state" if self.home else Path("/var/lib/holdfast")

    @property
    def run_directory(self) -> Path:
        """Sockets, counters, device mount points: gone after a reboot."""
        return self.home / "run" if self.home else Path("/run/holdfast")

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
