"""Files and folders: reaching, judging, copying and replacing them; what the kernel knows of them.

May import `mounts`, and what is below them.
"""
