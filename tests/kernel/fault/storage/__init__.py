"""A leg's storage errs, hangs, is full or away: nothing else is the matter with it."""
