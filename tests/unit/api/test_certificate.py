"""A certificate and its key are believed only where they are root's, as all files from others."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from holdfast.api.certificate import Certificate
from holdfast.errors import HostCannot, InvalidOption, Untrusted
from tests.unit.api.certificates import Made, make


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> tuple[Made, Made]:
    folder = tmp_path_factory.mktemp("tls")
    return make(folder, "host"), make(folder, "other")


@pytest.fixture
def made(originals: tuple[Made, Made], tmp_path: Path) -> Made:
    return Made(*(Path(shutil.copy2(each, tmp_path)) for each in originals[0]))


def test_as_certbot_leaves_them(made: Made, tmp_path: Path) -> None:
    (tmp_path / "live").mkdir()
    links = [tmp_path / "live" / each.name for each in made]
    for link, target in zip(links, made, strict=True):
        link.symlink_to(f"../{target.name}")
    assert Certificate(*links).renew() is False


def test_a_new_one_is_taken_up_and_a_wrong_one_not(
    made: Made, originals: tuple[Made, Made]
) -> None:
    certificate = Certificate(*made)
    shutil.copy2(originals[1].certificate, made.certificate)
    with pytest.raises(InvalidOption):  # the key is not its own
        certificate.renew()
    shutil.copy2(originals[1].key, made.key)
    assert (certificate.renew(), certificate.renew()) == (True, False)


@pytest.mark.parametrize("which", [0, 1])
def test_what_others_can_have_made_is_refused(made: Made, which: int) -> None:
    file = made[which]
    for mode in (0o620, 0o602):
        file.chmod(mode)
        with pytest.raises(Untrusted):
            Certificate(*made)
    file.chmod(0o600)
    os.link(file, file.with_name("second"))
    with pytest.raises(Untrusted, match="hard links"):
        Certificate(*made)
    file.with_name("second").unlink()
    file.parent.chmod(0o777)
    with pytest.raises(Untrusted):
        Certificate(*made)
    file.parent.chmod(0o700)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(Untrusted, match="FIFO"):
        Certificate(*made)
    file.unlink()
    with pytest.raises(HostCannot):
        Certificate(*made)
    file.write_text("no certificate")
    file.chmod(0o600)
    with pytest.raises(InvalidOption):
        Certificate(*made)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("which", [0, 1])
def test_what_is_somebody_elses_is_refused(made: Made, which: int) -> None:
    os.chown(made[which], 65534, -1)
    with pytest.raises(Untrusted, match="65534"):
        Certificate(*made)
    os.chown(made[which], 0, -1)
    link = made[which].with_name("link")
    link.symlink_to(made[which])
    os.chown(link, 65534, -1, follow_symlinks=False)
    named = [link if number == which else each for number, each in enumerate(made)]
    with pytest.raises(Untrusted, match="65534"):
        Certificate(*named)


def test_a_key_that_others_can_read_is_none(made: Made) -> None:
    made.key.chmod(0o640)
    Certificate(*made)
    made.key.chmod(0o644)
    with pytest.raises(Untrusted, match="others may read"):
        Certificate(*made)
