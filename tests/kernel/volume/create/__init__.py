"""Creating a volume: whole, refused, or without a trace."""
