"""The catalog's part about what may happen unattended, and the last attempt of each volume.

Invariant: every call is one transaction, durable when it returns; a volume without an entry has the
defaults. Must never decide what is to be done.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from sqlite3 import Connection
from typing import Any

from holdfast.catalog.table import Row
from holdfast.catalog.tables import POLICIES
from holdfast.errors import HoldfastError
from holdfast.model.bounded import typed
from holdfast.model.policy import Attempt, AttemptState, Policy, PolicyStanding

Transaction = Callable[[], AbstractContextManager[Connection]]


class PolicyEntries:
    """Policies by the volume's name; reached through `Catalog.policies`."""

    def __init__(self, reading: Transaction, writing: Transaction) -> None:
        self._reading = reading
        self._writing = writing

    def all(self) -> dict[str, PolicyStanding]:
        """Of every volume that has an entry."""
        with self._reading() as connection:
            return {row["volume"]: _standing_of(row) for row in POLICIES.rows(connection)}

    def of(self, volume: str) -> PolicyStanding:
        """Of this volume; the defaults where it has no entry."""
        with self._reading() as connection:
            return _of(connection, volume)

    def set(self, volume: str, policy: Policy) -> None:
        """Set it, and forget what became of earlier attempts, but for one that has not ended."""
        with self._writing() as connection:
            attempt = _of(connection, volume).attempt
            if attempt is not None and attempt.state is not AttemptState.RUNNING:
                attempt = None
            POLICIES.put(connection, row_of_standing(volume, PolicyStanding(policy, attempt)))

    def note(self, volume: str, attempt: Attempt) -> None:
        """Write down how far an attempt is."""
        with self._writing() as connection:
            standing = PolicyStanding(_of(connection, volume).policy, attempt)
            POLICIES.put(connection, row_of_standing(volume, standing))


def row_of_standing(volume: str, standing: PolicyStanding) -> Row:
    """The row that says the same."""
    policy, attempt = standing.policy, standing.attempt
    return {
        "volume": volume,
        "policy": _plain(_told(policy)),
        "attempt": None if attempt is None else _plain(asdict(attempt)),
    }


_LATER = ("on_worse", "quiet", "quiet_zone")
"""Fields that versions before 0.2 refuse: they are written where they are not as by default."""


def _told(policy: Policy) -> dict[str, Any]:
    default = asdict(Policy())
    return {
        name: value
        for name, value in asdict(policy).items()
        if name not in _LATER or value != default[name]
    }


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()}  # fmt: skip


def _of(connection: Connection, volume: str) -> PolicyStanding:
    rows = POLICIES.rows(connection, "where volume = ?", volume)
    return _standing_of(rows[0]) if rows else PolicyStanding()


def _standing_of(row: Row) -> PolicyStanding:
    attempt = row["attempt"]
    try:
        policy = typed(Policy, row["policy"])
    except HoldfastError as error:  # values that do not go together
        raise ValueError(f"the policy of {row['volume']}: {error}") from error
    return PolicyStanding(policy, None if attempt is None else typed(Attempt, attempt))
