"""One file per change of shape, in the order that `down_revision` gives."""
