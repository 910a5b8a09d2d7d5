"""Whose process was killed before its directory was removed, or just after it was made."""

from __future__ import annotations

import os
from pathlib import Path

from holdfast.catalog import Catalog
from holdfast.config import Settings
from holdfast.model.plan import ORDER, Strategy
from holdfast.model.receipt import Receipt
from holdfast.model.restoration import Restoration, RestorationStage
from holdfast.restoration.performing.receipts import ABANDONED
from holdfast.restoration.performing.recovery import remove_left_directories
from holdfast.restoration.storage.directory import directory_of, make_directory

LATER = {"entered": False, "given up": False, "made just now": False, "unknown": False,
         "ended": True, "never entered": True}  # fmt: skip
"""Whose directory goes."""


def test_what_means_nothing_any_more_goes(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    catalog = Catalog(settings.catalog_path)
    for name in LATER:
        make_directory(settings, name)
        if name != "made just now":
            os.utime(directory_of(settings, name), (1, 1))
    (directory_of(settings, "unknown") / "old-gate").mkdir()
    os.utime(directory_of(settings, "unknown"), (1, 1))
    for name, outcome in (("ended", "done"), ("given up", f"{ABANDONED}it stays")):
        (directory_of(settings, name) / "old-gate").mkdir()
        receipt = Receipt(id=name, volume="shop", strategy="gate", cause="", started=1.0,
                          finished=2.0, outcome=outcome)  # fmt: skip
        catalog.restorations.end(name, receipt)
    entered = Restoration("entered", "shop", Strategy.MIGRATE, "", 1.0, RestorationStage.PREPARING,
                          "boot", step_names=ORDER)  # fmt: skip
    catalog.restorations.begin(entered)
    remove_left_directories(settings, catalog)
    remove_left_directories(settings, catalog)
    left = {name for name in LATER if directory_of(settings, name).exists()}
    assert left == {name for name, goes in LATER.items() if not goes}
