"""Processes and threads: whether they live, what they may do, how they are stopped: ptrace(2)."""
