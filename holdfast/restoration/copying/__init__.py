"""The online copy of a file tree: passes that find what changed, while applications write.

    online        passes until one is short, while applications run
    process/      the process that copies, and how the parent talks to it
    passes        Replica: one pass after the other, each only with what changed
    limits        what the target cannot hold at all
    losses        what the copy lacks, name by name
    target_names  the names of the copy: made, renamed, taken away
    trees/        both trees: walked, reached by descriptor, compared with before
    inodes/       contents and properties of one file
    sides         both sides, as the process that copies needs to know them

Written for this, and not left to rsync: what counts as unchanged is judged by the inode's change
time as it was before dirty pages were flushed, so a store through a memory map between two passes
is never missed.
"""
