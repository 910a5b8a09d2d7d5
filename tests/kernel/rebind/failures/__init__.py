"""Agents that die or hang, and users that do not do what they are asked."""
