"""Benchmarks: Holdfast beside a plain loop device and two peers, in one run.

Ratios matter, absolute figures do not: all subjects lie in the same place, carry the same file
system and take turns, round by round; the median of the rounds is reported.
"""
