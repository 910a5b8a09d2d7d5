"""The commands, one file per family: what can be typed after `holdfast`, and what is said to it.

Each file turns options into a request and prints the answer. `application` puts them together; how
things look is `output` and `views`.
"""
