"""What bad places are owed: acknowledged writes that no leg could take at their place.

`owed` keeps them in memory, `owed_file` where they outlive the host; `repaying` finds them, and
writes them when the medium takes them.
"""
