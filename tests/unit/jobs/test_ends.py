"""Every end of a job survives the way through JSON, and becomes the right error."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.error_codes import leaves
from holdfast.errors import HoldfastError, JobDied, JobInterrupted, NoSuchVolume
from holdfast.jobs.ends import (
    Died,
    End,
    Failed,
    Finished,
    Interrupted,
    end_as_json,
    error_of,
    failed,
    read_end,
)
from holdfast.model.bounded import read_object

NUMBERS = st.integers(1, 64)
TEXTS = st.text(max_size=100)
ENDS = (
    st.builds(Finished, st.none() | TEXTS | st.lists(st.integers(0, 1 << 40)))
    | st.builds(Failed, TEXTS, st.integers(0, 255), TEXTS, TEXTS)
    | st.builds(Interrupted, NUMBERS)
    | st.builds(Died, NUMBERS, TEXTS)
)


def as_it_is(value: Any) -> Any:
    return value


@given(ENDS)
def test_an_end_is_the_same_after_its_json(end: End) -> None:
    assert read_end(read_object(json.dumps(end_as_json(end))), as_it_is) == end


@pytest.mark.parametrize(
    "changed",
    [
        {"form": 2},
        {"end": "exploded"},
        {"end": None},
        {"end": []},
        {"signal": "SIGTERM"},
        {"more": 1},
    ],
)
def test_what_is_no_end_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        read_end({**end_as_json(Interrupted(15)), **changed}, as_it_is)


def test_a_result_that_is_not_of_its_kind_is_refused() -> None:
    def refuse(value: Any) -> Any:
        raise ValueError(f"{value} is no receipt")

    with pytest.raises(ValueError, match="no receipt"):
        read_end(end_as_json(Finished(7)), refuse)


@pytest.mark.parametrize("leaf", list(leaves()), ids=lambda leaf: leaf.code)
def test_a_failure_raises_what_the_operation_raised(leaf: type[HoldfastError]) -> None:
    end = failed(leaf("what is wrong", "what to do"))
    error = error_of(end, "migrate")
    assert type(error) is leaf
    assert (error.message, error.mend) == ("what is wrong", "what to do")
    assert end.exit_status == leaf.exit_status


def test_a_failure_of_another_version_keeps_its_words() -> None:
    error = error_of(Failed("LATER", 9, "what is wrong", "what to do"), "migrate")
    assert type(error) is HoldfastError
    assert (str(error), error.mend) == ("what is wrong", "what to do")


@pytest.mark.parametrize(
    ("end", "kind", "words"),
    [
        (Interrupted(signal.SIGTERM), JobInterrupted, "SIGTERM"),
        (Died(signal.SIGKILL), JobDied, "was killed by SIGKILL"),
        (Died(99), JobDied, "was killed by signal 99"),
        (Died(words="a mistake"), JobDied, "ended without a result: a mistake"),
    ],
)
def test_whoever_loses_a_job_is_told_how(
    end: Interrupted | Died, kind: type[HoldfastError], words: str
) -> None:
    error = error_of(end, "migrate")
    assert isinstance(error, kind) and not isinstance(error, NoSuchVolume)
    assert words in str(error) and "migrate" in str(error)
    assert "holdfast" in error.mend
