"""An operation in a process of its own, for a program that must go on meanwhile.

    job.Job             request in; events, and one end out
    __main__            the process that carries it out: a new program
    speaking            its side of the socket: never waits for whoever listens
    ends                how a job can end: four values that know their JSON

Invariant: every job has exactly one end, also when its process is killed. Nobody waits for the
other side: a job goes on when nobody listens, and whoever listens is told of its death by the
kernel. Why a new program, and why the command line has none: docs/decisions/0020.
"""

from holdfast.jobs.ends import Died, End, Failed, Finished, Interrupted
from holdfast.jobs.job import Job

__all__ = ["Died", "End", "Failed", "Finished", "Interrupted", "Job"]
