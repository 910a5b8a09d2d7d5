"""The example of a document: a function `move` that migrates a volume from another process."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from holdfast import Holdfast, Settings
from holdfast.errors import NoSuchVolume
from tests.kernel.restoration.bench import application, make_image, mounted

DOCUMENTS = Path(__file__).parents[3] / "docs"


def follow(document: str, settings: Settings, folder: Path) -> None:
    """It moves a volume in use, and raises what the service raises."""
    path_of_document = DOCUMENTS / document
    (example,) = re.findall(r"```python\n(.*?)```", path_of_document.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(example, str(path_of_document), "exec"), names)
    with mounted(make_image(folder / "1.img"), folder / "mnt") as path:
        with Holdfast(settings) as holdfast:
            holdfast.adopt_volume("data", str(path))
        with application(path, folder / "record") as running:
            assert names["move"]("data", f"file:{folder}/2.img", "xfs") > 0
            running.wait_for_more()
            running.verify()
        with pytest.raises(NoSuchVolume):
            names["move"]("other", f"file:{folder}/3.img", "xfs")
