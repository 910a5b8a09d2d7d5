"""What may happen unattended, and who is told: rules that are pure, and ways to tell somebody.

Owns when a trouble of a volume becomes a message, and how a message reaches a person. Must never
change a volume.
"""
