"""The fault matrix (docs/fault-matrix.md): one file for each of its rows, by what is at fault.

Two rows are no faults, and lie here: an administrator holds the volume, or changes its legs.
"""
