"""The agent: stops a process with ptrace(2), and lets its threads make system calls for us.

    tracee.Tracee         one stopped process: stop, call, read, write, release, regain
    threads, harbour      its threads, and the code in which they wait
    calls, batch          single system calls; hundreds of them with one stop
    entry, leftovers      into the harbour and out of it; what a dead agent left behind

Knows no handles, no mounts and no record directory. x86-64 only.
"""
