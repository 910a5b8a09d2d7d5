"""What is on disk, and what handles point to, while processes stand still.

record                the journal of a rebind, for whoever comes after a death
observed, relocation  what a file was, and where it is on the new file system
kept_contents, placed_contents   contents that must be carried over
placeholders          what handles point to meanwhile
stopped_process       a stopped process and the notes of its handles
"""
