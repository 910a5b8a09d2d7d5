"""Adopted volumes: mounts that Holdfast did not make, managed without a gate.

    adopt.adopt_volume(settings, name, path, others) -> Volume
    adopt.limits_of(volume) -> findings
    detach.detach_adopted(settings, volume, reporter=SILENT) -> Volume
    attach.attach_adopted(settings, volume, reporter=SILENT, note=None) -> Volume
    report.report_adopted(settings, volume) -> VolumeReport

Nothing is put into their data path. `source` and `nameless_image` know where their bytes come from,
`properties` what it takes to have the mount again. Volumes with users go through a restoration.
"""
