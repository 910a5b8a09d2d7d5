"""The processes of a gate: keeper and worker, who takes over, and what they answer if asked."""
