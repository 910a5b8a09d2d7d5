"""The only door to Linux: every system call and command that is not plain file I/O.

One room for each facility of the kernel. Imports between them point one way (pyproject.toml):
`storage`, `messages` -> `files`, `fuse`, `resources` -> `mounts` -> `children` -> `processes`. Here
lies what all of them use: the texts of /proc, the boot, the clock, system calls without a wrapper.
"""
