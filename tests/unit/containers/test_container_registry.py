"""The registry of containers: every kind parses its own URLs, and nothing else is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.containers import CONTAINERS, device_behind, image_behind, open_container
from holdfast.errors import InvalidUrl, NoSuchContainer


@pytest.mark.parametrize("kind", CONTAINERS)
def test_every_kind_parses_its_own_example(kind: str) -> None:
    container = open_container(CONTAINERS[kind].example)
    assert container.url == CONTAINERS[kind].example
    assert container.url.startswith(f"{kind}:")


def test_the_url_comes_back_normalised() -> None:
    assert open_container("file:///srv//a/../b.img").url == "file:/srv/b.img"


@pytest.mark.parametrize("url", ["b.img", "file:b.img", "nbd:/x", "file:", "", "file:/a\nb"])
def test_nonsense_is_refused(url: str) -> None:
    with pytest.raises(InvalidUrl):
        open_container(url)


def test_a_file_is_no_block_device(tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(b"")
    with pytest.raises(InvalidUrl, match="is a file"):
        open_container(f"block:{path}").check_free(4096)


def test_an_absent_device_is_named(tmp_path: Path) -> None:
    container = open_container(f"block:{tmp_path}/sdx")
    for attempt in (lambda: container.create(4096), lambda: container.check_free(4096)):
        with pytest.raises(NoSuchContainer, match="there is no device"):
            attempt()


@pytest.mark.parametrize(
    "source", ["file:relative", "block:", "file:/a\nb", "host:/export", "tmpfs"]
)
def test_a_source_that_is_no_container_has_nothing_behind_it(source: str) -> None:
    """Whoever serves a FUSE mount gives its source any name."""
    assert image_behind(source) == device_behind(source) == ""
