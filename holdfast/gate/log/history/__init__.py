"""The history: every write of a volume, in segment files of one directory, for as long as asked.

Written from the log ring, read by whoever brings an image to a position. Knows positions and
records, and nothing of legs, requests or volumes.
"""
