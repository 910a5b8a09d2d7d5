"""Gated volumes: the stack container → gate → loop device → file system → mount.

    create.create_volume(settings, volume, others=(), reporter=SILENT) -> Volume
    attach.attach_volume(settings, volume, *, force=False, reporter=SILENT) -> Volume
    attach.rebuild_volume(settings, name, leg_urls, mounted) -> Volume (no catalog entry needed)
    detach.detach_volume(settings, volume, reporter=SILENT) -> None
    resize.resize_volume(settings, volume, size_bytes, reporter=SILENT) -> Volume
    delete.delete_volume(settings, volume, *, keep_images=False, reporter=SILENT) -> list[str]
    report.report_volume(settings, volume) -> VolumeReport
    recover.recover(settings) -> list[str]
    checks.foundation.check_not_own_leg(settings, name, mount_path, url) -> None   (for leg add)

Every function is idempotent, prints nothing and knows no catalog: the caller keeps the returned
Volume. The `reporter` is told a few words when a step begins ("make the file system").
"""
