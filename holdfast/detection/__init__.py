"""Sources of evidence that something is wrong with a volume, one file each.

`kernel_log`, `mount_table`, `canaries` (which ask for room, too): each gives `model.evidence`, and
`policy.disruptions` joins that. What a volume lies on, for all of them: `parts`. Must never change
a volume, and never wait for one: only errands touch managed storage.
"""
