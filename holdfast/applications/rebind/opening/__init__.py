"""Opens files on the new file system for processes that stand still.

requests              what is to be opened, and what came of it
finding               which file it is, and whether the processes may have it
reopening             opens it as it was open
opener                the expendable children in which all of this runs
opening_child         one of them
lifted_protection     properties that are in the way, taken off for an instant
outcomes              how a file compares with what it was
"""
