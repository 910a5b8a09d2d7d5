"""Restoration: assess, plan, then do the ordered steps, and undo them when one fails.

    performing/  what was assessed is carried out; what a killed runner left is finished or undone
    steps/       the steps of a plan, one file each
    assessing/   what is asked for, what is in the way, and the plan; nothing is touched
    records/     what is written down for whoever goes on; what this process has in its hands
    storage/     the old and the new containers; the directory of a restoration
    copying/     the online copy of a migration

Each room imports only those below it; `steps` and `assessing` do not know each other. May use
applications (who, stop, move) and volumes (where, dismount, mount); they do not know each other.
Invariant: everything that can be found to be in the way is found before anything is touched.
"""
