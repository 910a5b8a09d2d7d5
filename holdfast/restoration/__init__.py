"""Restoration: assess, plan, then do the ordered steps, and undo them when one fails.

    assess.assess(...)  -> what was found, read-only          prediction   how long a pause will be
    seen, looks         what is found out for it, what is looked at
    plan.make_plan(situation) -> Plan                          pure: facts in, plan or refusal out
    runner.Runner       the steps of a plan, recorded before and after, finished or undone
    steps/              one file per step
    copying/            the online copy of a migration
    strategies          which storage the steps work on
    recovery.recover_restorations(settings) -> list[str]       what a killed runner left

May use applications (who, stop, move) and volumes (where, dismount, mount); they do not know each
other. Invariant: everything that can be found to be in the way is found before anything is touched.
"""
