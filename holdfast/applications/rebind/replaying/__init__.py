"""How everything is put back on the new file system.

replay    opens files, replaces descriptors and maps, then adds watches, then locks
locks     locks and leases, taken again by whom they belong to
failures  why one handle, or one lock, did not come back
"""
