"""What can be typed after `holdfast`, told to shells (completion) and to man(1).

Owns `forms`, which reads it from where `--help` has it, so that none of the three can say something
else; `bash`, `zsh` and `fish` write scripts, `roff` pages. Nothing here asks this host anything.
"""
