"""What must be true of values, paths and storage before a volume is made or changed.

`new_volume` its values, mount path and containers; `room` what images may still take; `foundation`
that no volume stands on itself. Nothing is changed here.
"""
