"""What other users of the host have put in the way: places, images, servers, mounts."""
