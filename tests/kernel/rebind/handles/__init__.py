"""What becomes of each kind of handle, whatever was done to its file meanwhile."""
