"""What lies under a leg's name is not what it was, or nothing does."""
