"""Where legs may differ after a crash, and how they become equal there.

`bitmap` says which regions, in memory; `bitmap_on_legs` makes that durable; `equalising` goes
through these regions after a crash.
"""
