"""The catalog: what Holdfast knows of this host's volumes, and the receipts of what happened.

Owns everything that is written in SQL. Invariant: a volume or receipt that a call has returned
from adding is on disk. Must never touch managed storage, and no data path waits for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.catalog.catalog import Catalog
    from holdfast.catalog.ingest import Ingested

__all__ = ["Catalog", "Ingested"]


def __getattr__(name: str) -> Any:
    """Loaded when asked for: `names` needs nothing of it, and answers a key that was pressed."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{name.lower().replace('ingested', 'ingest')}"), name)
