"""A wish becomes a volume, or is refused before anything is touched."""

from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast.errors import InvalidName, InvalidOption, InvalidUrl
from holdfast.model.volume import JournalMode
from holdfast.service.requests import NewVolume

WISH = NewVolume("bank", 1 << 30, "/srv/bank", leg_urls=("file:///a//1.img",))


def test_urls_and_paths_are_normalised_and_the_label_is_the_name() -> None:
    volume = replace(WISH, mount_path="//srv/./bank/").as_volume()
    assert volume.leg_urls == ("file:/a/1.img",)
    assert volume.mount.path == "/srv/bank"
    assert volume.mount.label == "bank"
    assert volume.journal is JournalMode.UNFLUSHED
    assert not volume.attached


def test_each_volume_has_an_identity_of_its_own() -> None:
    assert WISH.as_volume().id != WISH.as_volume().id


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"name": "a/b"}, InvalidName),
        ({"leg_urls": ("relative.img",)}, InvalidUrl),
        ({"spare_urls": ("nbd://host/x",)}, InvalidUrl),
        ({"journal": "everything"}, InvalidOption),
        ({"mount_path": "relative"}, InvalidOption),
        ({"mount_path": "/"}, InvalidOption),
        ({"mount_path": "/srv/.."}, InvalidOption),
        ({"mount_path": "/proc"}, InvalidOption),
        ({"mount_path": "/a\nb"}, InvalidOption),
        ({"options": "-o x"}, InvalidOption),
        ({"label": "a\tb"}, InvalidOption),
    ],
)
def test_what_cannot_be_meant_is_refused(
    changed: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        replace(WISH, **changed).as_volume()
