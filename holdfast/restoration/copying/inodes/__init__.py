"""What one file is copied with.

file        its contents
attributes  owner, mode, extended attributes, times; what gives rights comes last
inode       its flags and project id
sharing     extents that it shares with other files
"""
