"""The trees on both sides of a copy: walked, reached by descriptor, compared with before.

tree           what a tree consists of, by signatures that no write can leave as they were
folders        one side of the copy: its names are opened through descriptors
walked_source  the source's files as they were walked, or why not
moves          what was renamed or removed since the last pass
locating       where in a finished copy the file of an inode is
"""
