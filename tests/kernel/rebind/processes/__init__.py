"""Where users live and what they may do: who can be moved, and cannot tell afterwards."""
