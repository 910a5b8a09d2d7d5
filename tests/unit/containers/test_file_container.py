"""Image files: made sparse and private, never overwritten, never made in a missing folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.containers import open_container
from holdfast.errors import (
    ContainerFailed,
    HoldsData,
    InUse,
    InvalidUrl,
    NoSuchContainer,
    TooSmall,
    Untrusted,
)

SIZE = 32 << 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "leg.img"


def image(path: Path, size_bytes: int = SIZE) -> None:
    with path.open("wb") as file:
        file.truncate(size_bytes)


def write_at(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def test_a_new_image_is_sparse_and_private(path: Path) -> None:
    assert open_container(f"file:{path}").create(SIZE)
    status = path.stat()
    assert status.st_size == SIZE
    assert status.st_blocks == 0
    assert status.st_mode & 0o777 == 0o600


def test_an_existing_image_is_left_as_it_is(path: Path) -> None:
    path.write_bytes(b"precious")
    assert not open_container(f"file:{path}").create(SIZE)
    assert path.read_bytes() == b"precious"


def test_a_missing_folder_is_named_and_not_made(tmp_path: Path) -> None:
    container = open_container(f"file:{tmp_path}/not-mounted/leg.img")
    for attempt in (lambda: container.create(SIZE), lambda: container.check_free(SIZE)):
        with pytest.raises(NoSuchContainer, match="not-mounted does not exist"):
            attempt()
    assert not list(tmp_path.iterdir())


def test_a_link_to_nothing_is_refused(path: Path) -> None:
    path.symlink_to("nowhere")
    for attempt in (lambda: open_container(f"file:{path}").create(SIZE), _free(path)):
        with pytest.raises(Untrusted, match="symbolic link"):
            attempt()


def test_an_impossible_size_leaves_nothing_behind(path: Path) -> None:
    with pytest.raises(ContainerFailed):
        open_container(f"file:{path}").create(1 << 62)
    assert not path.exists()


def test_an_absent_image_is_free(path: Path) -> None:
    open_container(f"file:{path}").check_free(SIZE)
    assert not path.exists()


def test_an_image_of_zeros_is_free(path: Path) -> None:
    path.write_bytes(bytes(SIZE))
    open_container(f"file:{path}").check_free(SIZE)


@pytest.mark.parametrize("offset", [0, 5, (1 << 20) + 7, 11 << 20, SIZE - 1])
def test_one_byte_anywhere_is_data(path: Path, offset: int) -> None:
    image(path)
    write_at(path, offset, b"\x01")
    with pytest.raises(HoldsData, match=f"holds data at byte {offset}$"):
        open_container(f"file:{path}").check_free(SIZE)


def test_a_signature_is_named(path: Path) -> None:
    image(path)
    write_at(path, 4096 - 10, b"SWAPSPACE2")
    write_at(path, 1024, (1).to_bytes(4, "little") + (100).to_bytes(4, "little"))
    with pytest.raises(HoldsData, match="swap"):
        open_container(f"file:{path}").check_free(SIZE)


def test_an_empty_image_that_is_too_small_is_refused(path: Path) -> None:
    image(path, SIZE - 4096)
    with pytest.raises(TooSmall, match=f"{SIZE} are needed"):
        open_container(f"file:{path}").check_free(SIZE)


def test_a_folder_is_not_an_image(tmp_path: Path) -> None:
    with pytest.raises(InvalidUrl, match="not a regular file"):
        open_container(f"file:{tmp_path}").check_free(SIZE)


def test_a_fifo_does_not_block_and_is_refused(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(InvalidUrl):
        open_container(f"file:{path}").check_free(SIZE)
    with pytest.raises(OSError, match="not a regular file"):
        open_container(f"file:{path}").open()


def _free(path: Path) -> Callable[[], None]:
    return lambda: open_container(f"file:{path}").check_free(SIZE)


def test_one_that_others_could_read_is_made_private(path: Path) -> None:
    image(path)
    path.chmod(0o644)
    open_container(f"file:{path}").open().close()
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o666, 0o660, 0o620, 0o602])
def test_one_that_others_could_write_is_refused(path: Path, mode: int) -> None:
    image(path)
    path.chmod(mode)
    with pytest.raises(Untrusted, match="others may write"):
        _free(path)()


def test_one_with_two_names_is_refused(path: Path) -> None:
    image(path)
    path.with_name("other").hardlink_to(path)
    with pytest.raises(Untrusted, match="2 names"):
        _free(path)()


@pytest.mark.parametrize("exists", [False, True], ids=["new", "there"])
def test_a_folder_that_strangers_may_write_to_is_refused(path: Path, exists: bool) -> None:
    """Unless it is sticky, as /var/tmp: nobody can exchange what is root's there."""
    folder = path.parent / "public"
    folder.mkdir()
    inside = folder / "leg.img"
    if exists:
        image(inside)
    for mode, refused in ((0o777, True), (0o775, True), (0o1777, False)):
        folder.chmod(mode)
        if refused:
            with pytest.raises(Untrusted, match="others may exchange"):
                _free(inside)()
        else:
            _free(inside)()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_strangers_image_is_refused(path: Path) -> None:
    image(path)
    os.chown(path, 65534, 65534)
    with pytest.raises(Untrusted, match="belongs to user 65534"):
        _free(path)()
    with pytest.raises(Untrusted):
        open_container(f"file:{path}").open()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give directories away")
def test_a_strangers_folder_is_refused(path: Path) -> None:
    os.chown(path.parent, 65534, 65534)
    try:
        with pytest.raises(Untrusted, match="belongs to user 65534"):
            _free(path)()
    finally:
        os.chown(path.parent, os.geteuid(), os.getegid())


def test_only_one_may_have_it_open(path: Path) -> None:
    image(path)
    container = open_container(f"file:{path}")
    device = container.open()
    try:
        with pytest.raises(BlockingIOError):
            container.open()
        with pytest.raises(InUse, match="locked"):
            container.check_free(SIZE)
    finally:
        device.close()
    container.open().close()


def test_it_is_opened_for_direct_io_and_not_inherited(path: Path) -> None:
    image(path)
    container = open_container(f"file:{path}")
    device = container.open()
    try:
        assert fcntl.fcntl(device.descriptor, fcntl.F_GETFL) & os.O_DIRECT
        assert not os.get_inheritable(device.descriptor)
        assert device.size_bytes() == SIZE
    finally:
        device.close()


def test_growing_keeps_the_content_and_never_shrinks(path: Path) -> None:
    path.write_bytes(b"kept")
    container = open_container(f"file:{path}")
    container.grow(SIZE)
    assert path.stat().st_size == SIZE
    container.grow(4096)
    assert path.stat().st_size == SIZE
    with path.open("rb") as file:
        assert file.read(8) == b"kept\0\0\0\0"


def test_growing_beyond_the_file_system_is_too_small(path: Path) -> None:
    image(path)
    with pytest.raises(TooSmall):
        open_container(f"file:{path}").grow(1 << 62)
    assert path.stat().st_size == SIZE


def test_removing_twice_is_no_error(path: Path) -> None:
    image(path)
    container = open_container(f"file:{path}")
    container.remove()
    container.remove()
    assert not container.exists()


def test_it_lies_on_the_real_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    container = open_container(f"file:{tmp_path}/link/leg.img")
    assert container.lies_on() == os.path.realpath(tmp_path / "real")


@pytest.mark.parametrize("place", ["/dev/loop77777", "/dev/mapper/absent"])
def test_a_device_that_is_not_there_is_no_image(place: str) -> None:
    """It would be a file in the memory of the folder of devices."""
    if not Path(place).parent.exists():
        pytest.skip("no such folder here")
    container = open_container(f"file:{place}")
    for attempt in (container.create, container.check_free):
        with pytest.raises(InvalidUrl) as told:
            attempt(SIZE)
        assert f"block:{place}" in told.value.mend
    assert not Path(place).exists()
