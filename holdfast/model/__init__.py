"""The words of Holdfast as frozen values: no I/O, no behaviour beyond parsing and printing."""
