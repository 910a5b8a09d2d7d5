"""The containers of a restoration, old and new, and the directory in which it keeps its own files.

old_and_new  made ready to be mounted, and released again
other_kind   a volume as one with a gate, or without
target       the new containers: checked, and described as the volume they will be
making       made, and taken away again when they are not needed
origin       where the files of a copy come from
carried      files that are copied through the directory, because no name leads to them
left_storage  what is left as it was: by what it is seen later whether it still is
directory    the directory, and the file that allows a later process to finish
"""
