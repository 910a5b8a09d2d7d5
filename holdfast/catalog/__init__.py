"""The catalog: what Holdfast knows of this host's volumes, and the receipts of what happened.

Owns everything that is written in SQL. Invariant: a volume or receipt that a call has returned
from adding is on disk. Must never touch managed storage, and no data path waits for it.
"""

from holdfast.catalog.catalog import Catalog
from holdfast.catalog.ingest import Ingested

__all__ = ["Catalog", "Ingested"]
