"""The agent: what lets the threads of a stopped process make system calls for us.

    tracee.Tracee            one stopped process: stop, call, read, write, release, regain
    x86_64, assembler        all code that is put into processes, as listings
    harbour                  the mapping in which its threads wait, whoever dies
    entry, leftovers         into the harbour and out of it; what a dead agent left behind
    calls, batch             single system calls; hundreds of them with one stop
    descriptor_tables        descriptors passed in, and taken out
    process_record           what is written down of it, for whoever comes after a death

Knows no handles, no mounts and no record directory. x86-64 only.
"""
