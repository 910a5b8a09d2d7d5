"""Somebody else mounts, dismounts, deletes or commands something while storage is replaced."""
