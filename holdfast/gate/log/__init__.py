"""The log of writes: an append-only journal in segment files of one directory.

Knows positions and records, and nothing of legs, requests or volumes.
"""
