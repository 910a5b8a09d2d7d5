"""How all users of a volume come to stand still in their harbours.

all_users     stops them, those included that appear meanwhile
second_look   who uses the volume, now that the known ones stand
order         who is stopped before whom
letting_go    lets them go on, all or some
failed_calls  which calls that failed with the mount are made again
regaining     takes over those that another agent left parked
"""
