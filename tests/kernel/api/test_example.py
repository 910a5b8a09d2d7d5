"""The example in docs/api.md does what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from holdfast import Holdfast, Settings
from holdfast.errors import NoSuchVolume
from tests.kernel.api.serving import api
from tests.kernel.restoration.bench import application, make_image, mounted

DOCUMENT = Path(__file__).parents[3] / "docs/api.md"


def test_the_example_moves_a_volume(
    settings: Settings, ram_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(example, str(DOCUMENT), "exec"), names)
    with mounted(make_image(ram_directory / "1.img"), ram_directory / "mnt") as path, api():
        with Holdfast(settings) as holdfast:
            holdfast.adopt_volume("data", str(path))
        with application(path, ram_directory / "record") as running:
            assert names["move"]("data", f"file:{ram_directory}/2.img", "xfs") > 0
            running.wait_for_more()
            running.verify()
        assert "freeze" in capsys.readouterr().out
        with pytest.raises(NoSuchVolume):
            names["move"]("other", f"file:{ram_directory}/3.img", "xfs")
