"""Gated volumes: the stack container → gate → loop device → file system → mount.

    create.create_volume(settings, volume, others=(), progress=None) -> Volume
    attach.attach_volume(settings, volume, *, force=False, progress=None) -> Volume
    attach.rebuild_volume(settings, name, leg_urls, mounted) -> Volume (no catalog entry needed)
    detach.detach_volume(settings, volume, progress=None) -> None
    resize.resize_volume(settings, volume, size_bytes, progress=None) -> Volume
    delete.delete_volume(settings, volume, *, keep_images=False, progress=None) -> list[str]
    report.report_volume(settings, volume) -> VolumeReport
    recover.recover(settings) -> list[str]
    checks.foundation.check_not_own_leg(settings, name, mount_path, url) -> None   (for leg add)

Every function is idempotent, prints nothing and knows no catalog: the caller keeps the returned
Volume. `progress` is called with one word or two per step ("make the file system").
"""
