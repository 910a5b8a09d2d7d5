"""What was assessed is carried out; and finished or undone by others when its process was killed.

perform      prepare, then the runner, then finish: nothing else knows their order
prepare      the record, and the new container, filled while everybody runs
copy_source  what the copy is made from
runner       the steps of a plan, recorded before and after, finished or undone
finish       what is kept of it
receipts     its receipt
hidden       files that somebody made below the mounts meanwhile
recovery     what a killed runner left is finished or undone
abandoning   or given up, and told
stale        handles on a mount that is in no table any more
"""
