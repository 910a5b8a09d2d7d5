"""What a restoration knows of itself.

record         what is written down, typed and versioned: the only reader and writer
first_version  records of 0.1.0 in the present form
work           one restoration in one process: its record, and what it has in its hands
"""
