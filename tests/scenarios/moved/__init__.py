"""Applications at work on a volume that is moved below them."""
