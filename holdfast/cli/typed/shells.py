"""The script of each shell that completes what can be typed.

Invariant: a script holds every word itself, so that it costs nothing and works while storage hangs.
The one thing that it asks for are the names of volumes, by `holdfast completion names`, of the
command that the search path has: never of one that merely bears its name where somebody stands.
"""

from __future__ import annotations

from collections.abc import Callable

from holdfast.cli.typed.bash import bash_script
from holdfast.cli.typed.fish import fish_script
from holdfast.cli.typed.forms import CommandForm
from holdfast.cli.typed.zsh import zsh_script

SCRIPTS: dict[str, Callable[[CommandForm], str]] = {
    "bash": bash_script,
    "zsh": zsh_script,
    "fish": fish_script,
}
