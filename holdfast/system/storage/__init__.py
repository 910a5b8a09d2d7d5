"""Block devices and file systems: making them, growing them, and what stands on what.

May import `files` and `fuse`, and what is below them.
"""
