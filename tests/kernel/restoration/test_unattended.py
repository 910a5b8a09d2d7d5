"""What a policy says is done when storage is lost, once; and what it does not say is not."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import Blocked, InvalidOption, NoSuchCopy
from holdfast.model.policy import AttemptState, OnLoss
from holdfast.model.reporter import Reporter
from holdfast.policy.unattended import Action
from holdfast.service import Holdfast, NewVolume, RespondRequest, RestoreRequest
from tests.kernel.restoration.bench import make_image, mounted
from tests.kernel.restoration.unattended_bench import arm, losing

RESPOND = RespondRequest("data", 60.0, "its disk is gone")


def test_read_only_on_purpose_is_no_loss(settings: Settings, ram_directory: Path) -> None:
    """Another mount of the same file system is remounted: all of it refuses to write."""
    other = ram_directory / "other"
    other.mkdir()
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        subprocess.run(["mount", "--bind", path, other], check=True)
        try:
            subprocess.run(["mount", "-o", "remount,ro", other], check=True)
            report = holdfast.show_volume("data")
        finally:
            subprocess.run(["umount", other], check=True)
        assert report.lost_by is None and "was made read-only" in report.reason


def test_lost_storage_is_restored_once(settings: Settings, ram_directory: Path) -> None:
    with losing(settings, ram_directory) as lost, Holdfast(settings) as holdfast:
        assert holdfast.policies.show("data").would is Action.NOTHING
        assert holdfast.policies.respond(RESPOND) is None
        arm(settings, lost.copy)
        found = holdfast.policies.show("data")
        assert found.would is Action.RESTORE, found
        assert holdfast.policies.respond(RESPOND) is None, "its storage is well"
        lost.lose(read_only=True)
        receipt = holdfast.policies.respond(RESPOND)
        assert receipt is not None and receipt.outcome == "done"
        assert receipt.cause.startswith("read-only: its disk is gone (unattended")
        lost.goes_on()
        found = holdfast.policies.show("data")
        assert found.attempt is not None and found.attempt.id == receipt.id
        assert (found.attempt.state, found.would) == (AttemptState.DONE, Action.REFUSE)
        assert holdfast.policies.respond(RESPOND) is None
        assert [each.id for each in holdfast.receipts("data")] == [receipt.id]
        holdfast.policies.set("data", on_loss=OnLoss.HOLD)
        assert holdfast.policies.show("data").attempt is None


@pytest.mark.parametrize("what", ["missing", "strangers", "no file system", "log"])
def test_no_contents_that_cannot_be_believed(
    settings: Settings, ram_directory: Path, what: str
) -> None:
    with losing(settings, ram_directory) as lost, Holdfast(settings) as holdfast:
        arm(settings, lost.copy, oldest_seconds=86400.0)
        copy = ram_directory / "copy.img"
        age = copy.stat().st_mtime
        if what == "missing":
            copy.unlink()
        elif what == "strangers":
            copy.chmod(0o666)
        elif what == "no file system":
            os.truncate(copy, 0)
            os.truncate(copy, 64 << 20)
            os.utime(copy, (age, age))
        elif what == "log":
            copy.write_bytes((ram_directory / "1.img").read_bytes())  # in use, not frozen
            os.utime(copy, (age, age))
        shown = holdfast.policies.show("data")
        assert shown.would is Action.REFUSE and shown.mend, shown
        lost.lose()
        with suppress(Blocked):  # it says so, where it was found when it was to be done
            assert holdfast.policies.respond(RESPOND) is None
        attempt = holdfast.policies.show("data").attempt
        assert attempt is not None and attempt.state is AttemptState.FAILED and attempt.mend
        (receipt,) = holdfast.receipts("data")
        assert receipt.id == attempt.id and receipt.outcome.startswith("refused: ")
        assert holdfast.policies.respond(RESPOND) is None, "not again so soon"
        assert len(holdfast.receipts("data")) == 1
        assert holdfast.restorations.in_progress("data") is None
        assert not list(ram_directory.glob("*.restored-*"))


def test_contents_that_change_meanwhile_are_not_taken(
    settings: Settings, ram_directory: Path
) -> None:
    with losing(settings, ram_directory) as lost, Holdfast(settings) as holdfast:

        def change(words: str) -> None:
            if words.startswith("copy, pass"):
                os.utime(ram_directory / "copy.img")

        with pytest.raises(Blocked, match="changed while"):
            holdfast.restorations.restore(RestoreRequest("data", lost.copy), Reporter(say=change))
        lost.running.wait_for_more()
        assert lost.running.progress()[1] == 0


def test_what_cannot_be_is_refused(settings: Settings, ram_directory: Path) -> None:
    wanted = NewVolume(
        "shop", 64 << 20, f"{ram_directory}/mnt", leg_urls=(f"file:{ram_directory}/leg.img",)
    )
    with Holdfast(settings) as holdfast:
        holdfast.create_volume(wanted)
        try:
            with pytest.raises(NoSuchCopy):
                holdfast.policies.set("shop", on_loss=OnLoss.RESTORE, source="file:/x.img")
            with pytest.raises(InvalidOption):
                holdfast.policies.set("shop", target="file:/x.img")
            with pytest.raises(InvalidOption, match="answers with errors"):
                holdfast.policies.set("shop", on_loss=OnLoss.RESTORE, after_seconds=600.0)
            assert "its gate" in holdfast.policies.show("shop").why
            found = holdfast.policies.set("shop", on_loss=OnLoss.RESTORE)
            assert found.would is Action.REFUSE and "holdfast history shop" in found.mend
        finally:
            holdfast.delete_volume("shop")
