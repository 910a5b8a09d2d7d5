"""Applications: who uses a volume, by what, and what can be done with them while it is replaced.

    users.find_users(mounts, *, ourselves=False) -> list[User]         (with every handle)
    users.busy_processes(mounts, skip=()) -> list[int]                 (newcomers, quickly)
    kernel_users.held_by_kernel(mounts) -> list[Handle]                (loop, swap, mounts below)
    identity.application_of(pid, command) -> Application
    freezers/  rebind/                                                 (rooms of their own)

Processes are given as values of `model`; this room knows no volume, gate or catalog. Must never
touch managed storage from the calling process.
"""
