"""The only door to Linux: every system call and command that is not plain file I/O."""
