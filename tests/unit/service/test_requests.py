"""A wish becomes a volume, or is refused before anything is touched."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from holdfast.errors import Blocked, InvalidName, InvalidOption, InvalidUrl
from holdfast.model.volume import JournalMode
from holdfast.service.requests import NewVolume
from holdfast.service.restore_request import RestoreRequest

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


@pytest.mark.parametrize(
    "asked",
    [
        {"to": "file:/new.img"},  # taken for nothing, a broken mount would be mounted anew
        {"history": "/history"},
        {"at": "now", "more_urls": ("file:/new.img",)},
        {"at": "now", "contents": "/older"},
        {"at": "now", "undo": True},
        {"contents": "/older", "undo": True},
    ],
)
def test_a_restore_that_contradicts_itself_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption):
        RestoreRequest("shop", **asked)


def test_another_volume_of_that_name_is_not_what_was_looked_at() -> None:
    request = RestoreRequest("shop", at="now", volume_id="then")
    request.check_still(replace(WISH.as_volume(), id="then"))
    with pytest.raises(Blocked, match="other storage"):
        request.check_still(WISH.as_volume())
