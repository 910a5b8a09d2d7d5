"""Every mount of a file system, in all namespaces: captured, dismounted, mounted again."""
