"""The online copy of a file tree: passes that find what changed, while applications write.

    tree          what a tree consists of, by signatures that no write can leave as they were
    folders       one side of the copy: its names are opened through descriptors
    moves         what was renamed or removed since the last pass
    limits        what the target cannot hold at all
    target_names  the names of the copy: made, renamed, taken away
    file          the contents of one file
    attributes    owner, mode, extended attributes, times; what gives rights comes last
    inode         its flags and project id
    sharing       extents that it shares with other files
    losses        what the copy lacks, name by name
    walked_source the source's files as they were walked, or why not
    passes        Replica: one pass after the other, each only with what changed
    sides         both sides, as the process that copies needs to know them
    worker        the commands of the process that copies
    child         that process, and how the parent talks to it

Written for this, and not left to rsync: what counts as unchanged is judged by the inode's change
time as it was before dirty pages were flushed, so a store through a memory map between two passes
is never missed.
"""
