"""Small applications that verify themselves; the demo and the tests run the same ones.

Each is a process of its own that knows nothing of Holdfast: it only sees a directory. It writes one
operation after the other, makes each durable, and only then notes it as acknowledged in a progress
file that lies outside of the volume. `verify` says which acknowledged operations are not there.
"""
