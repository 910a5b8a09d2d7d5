"""What others can ask of a running gate: its control socket.

`connections` takes who connects and gives the replies; `request` bounds what they say; `verbs` does
it, by way of `repair.changes`, the `administrative_hold`, and a `view`, which changes nothing.
"""
