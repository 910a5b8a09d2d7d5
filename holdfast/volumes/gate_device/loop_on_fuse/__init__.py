"""FUSE and loop: a file system that is one file, and a loop device on that file."""
