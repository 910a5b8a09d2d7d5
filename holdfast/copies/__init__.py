"""Copies of gated volumes: images that are filled, brought on by a history, made into clones.

Invariant: an image is touched only under the path and the inode that its record has, in children
that can be given up; whatever is killed, the record says what is complete.
"""
