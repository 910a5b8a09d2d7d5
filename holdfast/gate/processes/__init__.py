"""The processes of a gate: keeper and worker, who takes over, and how one talks to them."""
