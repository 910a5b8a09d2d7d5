"""Freezing the users of a volume, and letting them go on."""
