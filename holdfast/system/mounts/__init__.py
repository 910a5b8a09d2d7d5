"""Mounts and mount namespaces: what is mounted where, who uses it, mounting and unmounting.

May import `children` and `processes`.
"""
