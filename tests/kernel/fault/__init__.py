"""The fault matrix (docs/fault-matrix.md): one file for each of its rows."""
