"""Moves the handles of running processes from one mounted file system to another.

`scan.judge` tells beforehand what would become of each handle; `rebind.Rebind` stops, parks,
rebinds and lets go. Everything that is done inside another process is done in this package.
"""
