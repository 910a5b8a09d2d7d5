"""Who uses a volume: one kind of handle, or one difficulty, per file."""
