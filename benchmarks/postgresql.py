"""pgbench on a cluster of its own in the given directory, as the user postgres."""

from __future__ import annotations

import re
import shutil
from contextlib import suppress
from pathlib import Path

from benchmarks.commands import BenchmarkError, run

USER = "postgres"
SCALE = 16
"""Branches: with fewer than clients, pgbench measures how they wait for each other (pgbench(1))."""
PORT = 54399
_SETTINGS = """
listen_addresses = ''
unix_socket_directories = '{socket}'
port = {port}
max_wal_size = 256MB
"""


def binaries() -> Path:
    """Where initdb lies: Debian keeps it out of PATH. Raises BenchmarkError."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = shutil.which("initdb")
    if versions:
        return versions[-1].parent
    if found:
        return Path(found).resolve().parent
    raise BenchmarkError("PostgreSQL is not installed")


def transactions(directory: Path, seconds: float, clients: int) -> float:
    """Transactions per second of pgbench's standard script with so many clients; makes the cluster
    at the first call."""
    programs = binaries()
    cluster = directory / "cluster"
    # Sockets lie beside the volume: their path is short, and they are no part of the work.
    socket = directory.parent / "sockets"
    first = not cluster.exists()
    if first:
        socket.mkdir(exist_ok=True)
        cluster.mkdir(mode=0o700)
        run("chown", USER, socket, cluster)
        _as_user(programs / "initdb", "--no-sync", "--auth=trust", f"--pgdata={cluster}")
        settings = _SETTINGS.format(socket=socket, port=PORT)
        with (cluster / "postgresql.conf").open("a") as file:
            file.write(settings)
    control = (programs / "pg_ctl", f"--pgdata={cluster}", "--wait", "--silent")
    _as_user(*control, f"--log={socket}/log", "start")
    try:
        client = (programs / "pgbench", f"--host={socket}", f"--port={PORT}")
        if first:
            _as_user(*client, "--initialize", "--quiet", f"--scale={SCALE}", "postgres")
        _as_user(programs / "psql", "-h", socket, "-p", str(PORT), "-qc", "CHECKPOINT", "postgres")
        load = (f"--client={clients}", f"--jobs={clients}", f"--time={max(1, round(seconds))}")
        output = _as_user(*client, *load, "postgres")
    finally:
        with suppress(BenchmarkError):
            _as_user(*control, "--mode=fast", "stop")
    match = re.search(r"^tps = ([0-9.]+)", output, re.MULTILINE)
    if match is None:
        raise BenchmarkError(f"pgbench printed no result: {output}")
    return float(match[1])


def _as_user(*command: str | Path) -> str:
    return run("runuser", "-u", USER, "--", *command)
