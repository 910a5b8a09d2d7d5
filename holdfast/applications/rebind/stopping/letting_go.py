"""Letting processes go on as if nothing had happened, all of them or some."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from holdfast.applications.rebind.agent.steps import Steps, side_by_side
from holdfast.applications.rebind.parking.stopped_process import Processes
from holdfast.applications.rebind.stopping.order import by_memory
from holdfast.model.handle import Handle, User


def let_go(processes: Processes, pids: Collection[int]) -> None:
    """Let each of these go, and who shares memory with one, whatever becomes of the others.

    They are not in `processes` any more then. Raises OSError afterwards.
    """
    failed: list[OSError] = []

    def letting_go(group: Sequence[int]) -> Steps[None]:
        for pid in group:
            try:
                yield from processes[pid].tracee.releasing()
            except ProcessLookupError:
                pass
            except OSError as error:
                failed.append(error)
            del processes[pid]

    groups = [group for group in by_memory(list(processes)) if not set(pids).isdisjoint(group)]
    side_by_side(map(letting_go, groups), lambda: processes.all_cooperate)
    if failed:
        raise failed[0]


def who_has(sockets: Sequence[Handle], users: Sequence[User]) -> set[int]:
    """Which of these processes have one of these sockets. Pure."""
    wanted = {(each.kind, each.mount_id, each.inode) for each in sockets}
    return {
        user.pid
        for user in users
        if any((each.kind, each.mount_id, each.inode) in wanted for each in user.handles)
    }
