"""Records of restorations as Holdfast 0.1.0 wrote them, in the present form.

Such a record is one flat object without a version, whose kind shows by which keys it has. Pure:
plain values in, plain values out; `record` judges them. Raises ValueError, whatever is fed in.
"""

from __future__ import annotations

from typing import Any


def from_first_version(values: object, strategy: str) -> dict[str, Any]:
    """The same record in the present form; what is not there is left out."""
    if not isinstance(values, dict):
        raise ValueError("it is no object")
    if "old" not in values:
        raise ValueError("it does not say which volume it is of")
    facts: dict[str, Any] = values
    mode = _mode(facts, strategy)
    return _present(
        version=1,
        intent=_intent(facts, mode),
        prepared=_prepared(facts, mode),
        stopping=_stopping(facts),
        frozen=_part(facts, "frozen", ("calls_made_again", "calls_failed"), "processes"),
        flushed=facts.get("final_pass"),
        tokens=facts.get("fencing"),
        cover=facts.get("cover"),
        forced=facts.get("forced"),
        verified=facts.get("verified"),
        restored=_restored(facts, mode),
        replayed=_part(facts, "outcomes", ("notes",), "outcomes"),
    )


def _mode(facts: dict[str, Any], strategy: str) -> str:
    if "stale" in facts:
        return "stale"
    if _new(facts) is None:
        return "park" if strategy == "detach" else "remount"
    return "move" if facts.get("from_live") else "replace"


def _intent(facts: dict[str, Any], mode: str) -> dict[str, Any]:
    new = _new(facts)
    return _present(
        mode=mode,
        old=facts["old"],
        # Capture and Dismount wrote over these: they are the latest that were seen.
        points=facts.get("points", ()),
        deadline_seconds=facts.get("deadline_seconds", 0.0),
        new=new,
        existed=_existed(facts, new),
        stale_points=facts.get("stale"),
        device=facts.get("device"),
        predicted_pause_seconds=facts.get("predicted_pause_seconds"),
        is_dead=facts.get("dead"),
        is_broken=facts.get("broken"),
        refuses_confined=facts.get("refuses_confined"),
        findings=facts.get("findings"),
    )


def _new(facts: dict[str, Any]) -> Any:
    """The new volume: it was written twice, as such and as part of its storage."""
    storage = facts.get("storage")
    return storage.get("volume") if isinstance(storage, dict) else facts.get("new")


def _existed(facts: dict[str, Any], new: Any) -> Any:
    storage = facts.get("storage")
    existed = storage.get("existed") if isinstance(storage, dict) else None
    if isinstance(existed, bool):  # before a volume could move to a mirror
        return _urls(new) if existed else ()
    return existed


def _urls(new: Any) -> Any:
    if not isinstance(new, dict):
        raise ValueError("the new volume is no object")
    adoption = new.get("adoption")
    return (adoption.get("source"),) if isinstance(adoption, dict) else new.get("leg_urls")


def _prepared(facts: dict[str, Any], mode: str) -> dict[str, Any] | None:
    online, prepared = facts.get("online"), facts.get("prepared")
    if not isinstance(online, dict) or not isinstance(prepared, dict):
        return None
    return _present(
        started=prepared.get("started"),
        seconds=prepared.get("seconds"),
        passes=online.get("passes"),
        bytes=online.get("bytes"),
        entries=online.get("entries"),
        predicted_pause_seconds=facts.get("predicted_pause_seconds"),
        lost=facts.get("lost"),
        not_kept=facts.get("not_kept") if mode == "replace" else None,
    )


def _stopping(facts: dict[str, Any]) -> dict[str, Any] | None:
    if "parking" not in facts:
        return None
    return {
        "deadline_seconds": facts.get("deadline_seconds", 0.0),
        "frozen_at": facts.get("frozen_at", 0.0),
    }


def _restored(facts: dict[str, Any], mode: str) -> dict[str, Any] | None:
    if "copied_until" not in facts:
        return None
    not_kept = facts.get("not_kept") if mode == "move" else None
    return _present(copied_until=facts["copied_until"], not_kept=not_kept)


def _part(
    facts: dict[str, Any], key: str, others: tuple[str, ...], name: str
) -> dict[str, Any] | None:
    """What was written under `key`, by its present name, with what was written beside it."""
    if key not in facts:
        return None
    return _present(**{name: facts[key]}, **{each: facts.get(each) for each in others})


def _present(**values: Any) -> dict[str, Any]:
    """The values that are not None, by name."""
    return {name: value for name, value in values.items() if value is not None}
