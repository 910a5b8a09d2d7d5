"""Gated volumes: made, attached, detached, enlarged, lost and found."""
