"""Requests one at a time, 8 and 32 at once: how many, how long each takes, what each costs.

Beside the plain loop device stands the raw image file, without loop device and file system.
Alternating rounds as in the rest: what one round of a subject is compared with is the same round of
another, and the spread of the rounds is told with their median.
"""
