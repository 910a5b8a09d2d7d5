"""The online copy of a file tree: passes that find what changed, while applications write.

    tree       what a tree consists of, by signatures that no write can leave as they were
    file       the contents and attributes of one file
    inode      its flags and project id
    sharing    what it has in common with others
    passes     Replica: one pass after the other, each only with what changed
    child      the expendable process that does it, and who asks it

Written for this, and not left to rsync: what counts as unchanged is judged by the inode's change
time as it was before dirty pages were flushed, so a store through a memory map between two passes
is never missed.
"""
