"""Databases at work on a volume: their memory is ahead of the disk, so older contents under them
corrupt what they write next.

Recognised by the files that running processes have open, by name alone. Must never look into a
file. What is not recognised is not safe: it is only not known.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from holdfast.model.finding import Finding, Verdict
from holdfast.model.handle import User
from holdfast.model.listing import first_of

_SHOWN = 3
"""Processes named."""

_SIGNS: dict[str, re.Pattern[str]] = {
    "PostgreSQL": re.compile(
        r"(^|/)(pg_wal|pg_xlog|global/pg_control|base/\d+)(/|$)|(^|/)PG_VERSION$|"
        r"(^|/)postmaster\.pid$"
    ),
    "MySQL or MariaDB": re.compile(r"(\.ibd|(^|/)ibdata\d+|(^|/)(ib_logfile\d+|#ib_redo\d+))$"),
    "Redis": re.compile(r"(^|/)appendonlydir/|\.(aof|rdb)$"),
    "SQLite": re.compile(r"-(wal|shm|journal)$"),
    "LMDB": re.compile(r"(^|/)(data|lock)\.mdb$"),
    "RocksDB or LevelDB": re.compile(r"(^|/)(MANIFEST-\d+|\d+\.(sst|ldb))$"),
    "MongoDB": re.compile(r"(^|/)(WiredTiger(\.lock|\.wt)?|collection-.*\.wt)$"),
    "etcd": re.compile(r"(^|/)member/(wal|snap)/"),
    "Elasticsearch": re.compile(r"(^|/)translog-\d+\.(tlog|ckp)$"),
}
"""What each keeps open while it runs."""


def databases_among(users: Sequence[User]) -> list[Finding]:
    """One finding for each database that runs on the volume; rewinding under it needs --force."""
    found = []
    for kind, sign in _SIGNS.items():
        processes = [
            user for user in users if any(sign.search(handle.inside) for handle in user.handles)
        ]
        if processes:
            names = [f"{user.name} (process {user.pid})" for user in processes]
            found.append(
                Finding(
                    f"{kind} at work",
                    Verdict.NEEDS_FORCE,
                    f"{first_of(names, _SHOWN)} has its files open",
                    "Its memory is ahead of the disk: after a change of contents below it, it"
                    " writes what no longer fits, and may destroy the restored data.",
                    "Stop it first and start it afterwards. --force does it all the same.",
                )
            )
    return found
