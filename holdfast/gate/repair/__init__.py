"""How legs start, return, join, leave and are brought up to date while the volume is in use."""
