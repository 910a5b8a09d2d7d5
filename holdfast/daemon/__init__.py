"""What watches this host while nobody types.

`watch` looks at every volume again and again, and tells somebody when something is wrong; `acting`
begins jobs for what policies say. Must never change a volume in its own process.
"""
