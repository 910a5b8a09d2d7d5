"""What others do with a gate: start it, ask it, have it run the installed code.

launch    starts one, and knows whether one runs
client    asks it, and reads its counters
renewing  ends its processes, one after the other, so that new ones take their places
"""
