"""Names of volumes for a shell that completes: quickly, and whatever state storage is in.

Only the catalog is read, so a dead volume keeps nobody waiting, in a child that may be given up, as
the state directory may hang, too. Must never load what other commands need, never print a name that
no volume can have (the shell and the terminal would act on it), and never complain.
"""

from __future__ import annotations

import sys

from holdfast.catalog.names import volume_names
from holdfast.config import Settings
from holdfast.errors import HoldfastError
from holdfast.service.places import judge_places
from holdfast.system.children.expendable import in_expendable_child

_PATIENCE_SECONDS = 2.0
"""How long somebody who has pressed a key is kept waiting by storage that hangs."""


def print_names() -> int:
    """Print every volume's name, one a line; nothing where that cannot be found out. Status 0."""
    settings = Settings()

    def find() -> list[str]:
        judge_places(settings)
        return volume_names(settings.catalog_path)

    try:
        names = in_expendable_child(find, _PATIENCE_SECONDS, "the state directory")
        sys.stdout.write("".join(f"{name}\n" for name in names))
        sys.stdout.flush()
    except (HoldfastError, OSError):
        return 0
    return 0
