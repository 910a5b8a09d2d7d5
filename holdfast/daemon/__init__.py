"""What watches this host while nobody types.

`watch` looks at every volume again and again, and tells somebody when something is wrong. Must
never change a volume.
"""
