"""Stopping the threads of a process with ptrace(2), and letting them go.

    threads        the threads of one process: seized, stopped, detached from
    detaching      also of those that stop too late
    memory         the memory of a stopped process
    hindrances     why a thread cannot be stopped, in words
    time_budget    how long everybody may wait for the processes of one user
    errors         a process that has ended, or does not do what it is asked

Nothing in a process is changed here but its registers.
"""
