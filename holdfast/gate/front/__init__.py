"""The plug to the kernel: where requests come from and replies go to.

Everything below does not know which one it is.
"""
