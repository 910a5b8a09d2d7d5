"""Commands and children of ours: each has a deadline, and one that hangs is given up.

May import `processes`.
"""
