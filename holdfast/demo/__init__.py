"""The demonstration: real applications keep writing while their storage is taken away.

`story.run` tells it. Everything it makes lies in one folder, which `dismantle` can take away again
without knowing how far the story came. Must stay light: applications start through this package.
"""
