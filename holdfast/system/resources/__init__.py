"""What the host gives a process, and how others take it away: control groups, memory, urgency.

May import `mounts`, and what is below them.
"""
