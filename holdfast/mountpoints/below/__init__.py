"""Mounts of other file systems that lie on a volume: parked while it is away, and put back.

    looking    which there are, and which of them cannot be parked
    parking    the volume's mount goes out of sight with them; they are parked, it is dismounted
    returning  they are put back on what is mounted in its place

Invariant: each stays the very mount that it was, with everything that uses it and is mounted on it;
at every instant it is mounted somewhere in its mount namespace, so that no death of ours loses it.
"""
