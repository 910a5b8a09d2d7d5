"""Restoration: assess, plan, then do the ordered steps, and undo them when one fails.

    assess.assess(...)  -> what was found, read-only          prediction   how long a pause will be
    seen, looks         what is found out for it, what is looked at
    plan.make_plan(situation) -> Plan                          pure: facts in, plan or refusal out
    performing.perform(...)                                    what was assessed is carried out:
      prepare           the record, and the new container, filled while everybody runs
      runner, steps/    the steps of a plan, recorded before and after, finished or undone
      finish            what is kept of it, and its receipt
    record              what is written down, typed and versioned: the only reader and writer
    work                one restoration in one process: its record, and what it has in its hands
    target, making      the new containers: described, made
    copying/            the online copy of a migration
    recovery, abandoning                                       what a killed runner left

May use applications (who, stop, move) and volumes (where, dismount, mount); they do not know each
other. Invariant: everything that can be found to be in the way is found before anything is touched.
"""
