"""FUSE: its protocol for one file, covers over mount points, connections seen from outside.

May import `mounts`, and what is below them.
"""
