"""The tables of the catalog. Their columns, each with a comment, are in `changes`."""

from __future__ import annotations

from holdfast.catalog.table import SqlTable

VOLUMES = SqlTable(
    "volumes",
    key=("name",),
    objects=frozenset({"leg_urls", "spare_urls", "adoption"}),
    flags=frozenset({"attached"}),
)
"""Volumes of this host, attached or not."""

RECEIPTS = SqlTable("receipts", key=("id",), objects=frozenset({"steps", "processes", "details"}))
"""Finished failovers, holds, takeovers, replacements and restorations; never changed."""

RESTORATIONS = SqlTable("restorations", key=("id",), objects=frozenset({"step_names", "facts"}))
"""Restorations that have begun and not ended; removed when their receipt is written."""

STEPS = SqlTable("restoration_steps", key=("restoration", "name"))
"""How far each restoration has come: started is written before a step acts, the rest after."""

COPIES = SqlTable("copies", key=("id",), objects=frozenset({"urls"}))
"""Storage that holds older contents of a volume and is no part of it any more."""

POLICIES = SqlTable("policies", key=("volume",), objects=frozenset({"policy", "attempt"}))
"""What may happen to a volume unattended, and what became of it."""
