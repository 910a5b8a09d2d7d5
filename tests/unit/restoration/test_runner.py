"""Whatever a step does and wherever the runner dies: finished or undone, and everybody released."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from holdfast.catalog import Catalog
from holdfast.config import Settings
from holdfast.errors import DeadlinePassed, InUse
from holdfast.model.plan import ORDER, StepName, Strategy
from holdfast.model.restoration import Mode, Restoration, RestorationStage, StepState
from holdfast.model.volume import MountProperties, Volume
from holdfast.restoration.performing.perform import give_up
from holdfast.restoration.performing.runner import POINTS_OF_NO_RETURN, Runner
from holdfast.restoration.records.record import FreezeBegun, Intent, RestorationRecord, as_json
from holdfast.restoration.records.work import Work
from holdfast.restoration.steps.protocol import Step
from tests.forked import in_fork

RECORD = RestorationRecord(
    Intent(
        mode=Mode.REMOUNT,
        old=Volume("shop", "v", "gated", 32 << 20, MountProperties("/srv/shop", "ext4")),
        points=(),
        deadline_seconds=60.0,
    )
)


@dataclass
class FileStep:
    """A step whose effect is that a file exists; the last one instead removes what the first made,
    as a thaw ends a freeze."""

    name: StepName
    world: Path
    fails: bool = False
    is_broken: bool = False
    """Has a mistake in its undoing."""

    @property
    def _mark(self) -> Path:
        return self.world / str(self.name)

    def is_done(self, work: Work) -> bool:
        return self._mark.exists()

    def do(self, work: Work) -> str:
        if self.fails:
            raise InUse(f"{self.name} cannot be done")
        self._mark.touch()
        if self.name is StepName.THAW:
            (self.world / "frozen").unlink(missing_ok=True)
        if self.name is StepName.FREEZE:
            (self.world / "frozen").touch()
        return "done"

    def undo(self, work: Work) -> str:
        if self.is_broken:
            raise KeyError("mistake")
        self._mark.unlink(missing_ok=True)
        if self.name is StepName.FREEZE:
            (self.world / "frozen").unlink(missing_ok=True)
        return "undone"


class Bench:
    """A catalog, a world of files, and one restoration of all steps."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.world = folder / "world"
        self.world.mkdir()
        self.catalog = Catalog(folder / "catalog.sqlite")
        self.catalog.restorations.begin(
            Restoration("r", "shop", Strategy.MIGRATE, "planned", 1.0, RestorationStage.PREPARING,
                        "boot", step_names=ORDER, record=as_json(RECORD))
        )  # fmt: skip

    def runner(self, *failing: StepName, **options: object) -> Runner:
        restoration = self.catalog.restorations.of("shop")
        assert restoration is not None
        steps: dict[StepName, Step] = {
            name: FileStep(name, self.world, name in failing) for name in ORDER
        }
        work = Work(Settings(home=self.folder), self.catalog.restorations, restoration)
        return Runner(work, steps, **options)  # type: ignore[arg-type]

    def made(self) -> list[str]:
        return sorted(path.name for path in self.world.iterdir())

    def states(self) -> dict[StepName, StepState]:
        restoration = self.catalog.restorations.of("shop")
        assert restoration is not None
        return {step.name: step.state for step in restoration.steps}


@pytest.fixture
def bench(ram_directory: Path) -> Bench:
    return Bench(ram_directory)


def test_every_step_is_done_in_order_and_recorded(bench: Bench) -> None:
    places: list[str] = []
    assert bench.runner(checkpoint=places.append).run() is None
    assert [place for place in places if place.startswith("before")] == [
        f"before {name}" for name in ORDER
    ]
    assert set(bench.states().values()) == {StepState.FINISHED}
    assert bench.made() == sorted(map(str, ORDER))


@pytest.mark.parametrize("failing", [name for name in ORDER if name not in POINTS_OF_NO_RETURN])
def test_a_step_that_fails_undoes_all_before_it(bench: Bench, failing: StepName) -> None:
    with pytest.raises(InUse, match=str(failing)):
        bench.runner(failing).run()
    assert bench.made() == []
    assert set(bench.states().values()) == {StepState.UNDONE}


@pytest.mark.parametrize("failing", POINTS_OF_NO_RETURN)
def test_after_the_remount_only_forward(bench: Bench, failing: StepName) -> None:
    bench.runner(failing).run()
    assert bench.states()[failing] is StepState.FAILED
    assert ("frozen" in bench.made()) == (failing is StepName.THAW)
    assert str(StepName.REMOUNT) in bench.made()


def test_a_mistake_in_one_step_keeps_no_other_from_being_undone(bench: Bench) -> None:
    runner = bench.runner(StepName.RESTORE)
    for step in runner._steps:
        assert isinstance(step, FileStep)
        step.is_broken = step.name is StepName.DISMOUNT
    with pytest.raises(InUse, match=r"restore.*not be undone entirely: dismount.*KeyError"):
        runner.run()
    assert bench.made() == [StepName.DISMOUNT]
    assert bench.states()[StepName.DISMOUNT] is StepState.FAILED
    assert bench.states()[StepName.FREEZE] is StepState.UNDONE


def test_interrupting_undoes_as_well(bench: Bench) -> None:
    def interrupt(place: str) -> None:
        if place == "in dismount":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.runner(checkpoint=interrupt).run()
    assert bench.made() == []


def killed_at(bench: Bench, place: str, *failing: StepName) -> None:
    """Run it in a process of its own that dies at this place, as by SIGKILL."""

    def die(here: str) -> None:
        if here == place:
            os._exit(9)

    bench.catalog.close()
    ended = in_fork(lambda: bench.runner(*failing, checkpoint=die).run())
    assert ended.code == 9, f"it did not come to {place}: {ended}"


@pytest.mark.parametrize("place", ["before", "in", "after"])
@pytest.mark.parametrize("name", ORDER)
def test_a_killed_runner_is_finished_or_undone_by_the_next(
    bench: Bench, place: str, name: StepName
) -> None:
    killed_at(bench, f"{place} {name}")
    finished = bench.runner().go_on()
    assert "frozen" not in bench.made()
    if finished:
        assert bench.made() == sorted(map(str, ORDER))
    else:
        assert bench.made() == []
    past = ORDER.index(name) > ORDER.index(StepName.RESTORE)
    past = past or (name is StepName.RESTORE and place == "after")
    assert finished == past


@pytest.mark.parametrize("name", ORDER[: ORDER.index(StepName.REPLAY)])
@pytest.mark.parametrize("place", ["before", "after"])
def test_killed_while_undoing_it_is_undone_by_the_next(
    bench: Bench, place: str, name: StepName
) -> None:
    killed_at(bench, f"{place} undoing {name}", StepName.REMOUNT)
    assert not bench.runner().go_on()
    assert bench.made() == []


def test_it_leaves_where_the_plan_says_and_goes_on_from_there(bench: Bench) -> None:
    assert bench.runner(waits_after=StepName.DISMOUNT).run() is RestorationStage.WAITING
    assert "frozen" in bench.made()
    assert str(StepName.RESTORE) not in bench.made()
    assert bench.runner().run() is None
    assert "frozen" not in bench.made()


def test_a_step_that_leaves_no_time_to_undo_is_not_begun(bench: Bench) -> None:
    soon_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC) + 1_000_000_000
    waiting = as_json(replace(RECORD, stopping=FreezeBegun(8.0, 0.0)))  # two of them are kept back
    bench.catalog.restorations.note("r", record=waiting, deadline_ns=soon_ns)
    with pytest.raises(DeadlinePassed, match="capture"):
        bench.runner().run()
    assert bench.made() == []


def test_more_is_kept_back_for_undoing_where_the_way_was_long(bench: Bench) -> None:
    """On a busy host both ways take long, and what is kept back on a quiet one is too little."""
    work = bench.runner().work
    now_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    work.begin_waiting(now_ns + 60 * 10**9, deadline_seconds=60.0)
    quiet = work.seconds_left()
    assert 49 < quiet <= 50
    work.begin_waiting(now_ns + 40 * 10**9, deadline_seconds=60.0)  # 20 s are gone
    work.note_time_taken()
    assert work.seconds_left() <= 10 + 1  # 40 - 1.5 * 20
    work.begin_waiting(now_ns + 100 * 10**9, deadline_seconds=1000.0)
    work.note_time_taken()
    assert work.seconds_left() < 0  # never more than half is kept back


def test_what_was_not_undone_is_kept_for_recover(bench: Bench) -> None:
    """Whatever kept the undoing from being begun, or from coming to its end."""

    def dies(place: str) -> None:
        if place == f"after {StepName.FREEZE}":
            raise KeyboardInterrupt

    runner = bench.runner(checkpoint=dies)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(runner, "undo", lambda cause: None)
        runner.run()
    give_up(bench.catalog, runner.work, KeyboardInterrupt())
    assert bench.states()[StepName.FREEZE] is StepState.FINISHED
    assert bench.runner().go_on() is False
    assert set(bench.states().values()) == {StepState.UNDONE}
    give_up(bench.catalog, bench.runner().work, KeyboardInterrupt())
    assert bench.catalog.restorations.of("shop") is None
