"""Moves the handles of running processes from one mounted file system to another.

    scan.judge(users)     what would become of each handle, before anything is touched
    rebind.Rebind         the procedure: stop, park, rebind, release; or regain, after a death
    rebind.Rebind uses    stopping/, park (with noting and old_files), replaying/

    stopping/   all users stand still, or are taken over from a dead agent
    replaying/  everything is opened and put back
    handles/    one driver for each kind of handle
    opening/    opens files on the new file system: which one, and with whose rights
    parking/    what is on disk, and what handles point to, while processes stand still
    agent/      code and system calls inside a stopped process
    tracing/    threads, seized and stopped

Each room uses those below it. Nothing is done inside another process but in this package.
"""
