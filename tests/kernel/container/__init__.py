"""Image files and block devices: what is taken, and what is refused."""
