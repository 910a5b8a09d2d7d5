"""Claim: only processes that use the volume are ever stopped, moved or traced."""

from __future__ import annotations

import json
import sys

from holdfast.service import Holdfast, MigrateRequest
from tests.kernel.rebind.bench import Bench
from tests.kernel.rebind.conftest import Hold

OBSERVER = """
import json, os, select, sys

def look(pid):
    with open(f"/proc/{pid}/status") as file:
        fields = dict(line.split(":", 1) for line in file)
    with open(f"/proc/{pid}/cgroup") as file:
        groups = file.read()
    return fields["State"].split()[0], fields["TracerPid"].strip(), groups

seen = {pid: set() for pid in sys.argv[1:]}
looks = 0
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0.001)[0]:
    for pid in seen:
        seen[pid].add(look(pid))
    looks += 1
print(json.dumps([looks, {pid: sorted(found) for pid, found in seen.items()}]), flush=True)
"""
"""Looks at processes some hundred times a second, and says in the end how it saw them."""

BUSY = "print('ready', flush=True)\nwhile True: sum(range(1000))"


def observed(adopted: Holdfast, bench: Bench, start: Hold) -> dict[str, dict[str, set[str]]]:
    """Migrate beside an observer; states, tracers and groups it saw of each process, by role."""
    elsewhere = bench.folder / "elsewhere"
    elsewhere.mkdir()
    uses_another = "cd $0; exec 5>log; echo ready; read x"
    roles = {
        "user": start("sh", "-c", "cd $0; exec 5>log; echo ready; read x", bench.path).pid,
        "neighbour": start("sh", "-c", uses_another, elsewhere).pid,
        "busy": start("nice", "-n", "19", sys.executable, "-c", BUSY, cwd="/").pid,
        "parent": start("sh", "-c", "sh -c 'echo ready; cd $0; read x' $0", bench.path).pid,
    }
    watching = start(sys.executable, "-c", OBSERVER, *map(str, roles.values()))
    receipt = adopted.restorations.migrate(
        MigrateRequest("data", (f"file:{bench.folder}/new.img",), filesystem="xfs")
    )
    looks, seen = json.loads(watching.ask())
    assert receipt is not None and looks > 100
    names = ("states", "tracers", "groups")
    return {
        role: {name: {each[index] for each in seen[str(pid)]} for index, name in enumerate(names)}
        for role, pid in roles.items()
    }


def test_a_migration_touches_only_its_users(adopted: Holdfast, bench: Bench, start: Hold) -> None:
    seen = observed(adopted, bench, start)
    assert seen["user"]["tracers"] != {"0"}, "the observer is too slow to see anything"
    for role in ("neighbour", "busy", "parent"):
        assert seen[role]["tracers"] == {"0"}, role
        assert seen[role]["states"] <= set("RSD"), role
        assert len(seen[role]["groups"]) == 1, role


def test_the_parent_of_a_stopped_process_is_not_told(
    adopted: Holdfast, bench: Bench, start: Hold
) -> None:
    """SIGSTOP would be reported to it (SIGCHLD, CLD_STOPPED); nothing is here."""
    code = (
        "import os, signal, subprocess, sys\n"
        "told = []\n"
        "signal.signal(signal.SIGCHLD, lambda *_: told.append(1))\n"
        f"child = subprocess.Popen(['sleep', '60'], cwd={str(bench.path)!r})\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "print(len(told), os.waitpid(child.pid, os.WNOHANG | os.WUNTRACED)[0], flush=True)\n"
        "child.kill()\n"
    )
    parent = start(sys.executable, "-c", code, cwd="/")
    receipt = adopted.restorations.migrate(
        MigrateRequest("data", (f"file:{bench.folder}/new.img",), filesystem="xfs")
    )
    assert receipt is not None
    assert [each["name"] for each in receipt.processes] == ["sleep"]
    assert parent.ask() == "0 0"
