"""What every part of a gate process uses: claims on legs, the shared page, incidents, watching.

Owns what threads say about themselves and what survives a process. Never touches a leg.
"""
