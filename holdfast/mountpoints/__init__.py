"""The mounts of one file system, on the whole host: captured, dismounted for real, mounted again.

    capture.capture(path) -> points in the order to dismount them     obstacles.obstacles(points)
    health.health(point) -> Health                                    busy.users_in_words(points)
    dismount.dismount(points, covers=None) -> points                  dead.abort(points) -> findings
    dead.dismount_dead(points, covers=None) -> findings               uncovering.uncover(number)
    remount.remount(points, source, filesystem, options=None, note=None, manner=Manner())
        -> {old mount id: root descriptor}
    below.looking.mounts_below(points)                                below.returning.put_back(…)

Knows neither gates nor adopted volumes: both are mounted. Everything that may block runs in
expendable children with deadlines.
"""
