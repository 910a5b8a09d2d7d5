"""The processes of a gate: lost, found again, renewed, short of what they need."""
