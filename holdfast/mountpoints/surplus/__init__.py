"""Mounts of strangers beyond what a record holds, or what can be made again in time.

Which they are, whose, and their dismount for good.
"""
