"""Troubles that a volume's report shows, and what else was seen, become one for each cause. Pure.

Invariants: no two of the same volume and cause; everything that was seen stands in one of them; who
sees nothing gets the troubles as they were.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from holdfast.model.evidence import Evidence
from holdfast.model.trouble import Trouble


def disruptions(troubles: Iterable[Trouble], evidence: Iterable[Evidence]) -> tuple[Trouble, ...]:
    """One trouble for each volume and cause, in the order in which they were given.

    Where the report knows of it already, its words and its mend come first: a state says more than
    a message in a log. It is grave when any part of it is.
    """
    found: dict[tuple[str, str], Trouble] = {}
    seen = (
        Trouble(each.volume, each.words, each.mend, each.about, each.grave) for each in evidence
    )
    for each in (*troubles, *seen):
        before = found.get((each.volume, each.about))
        if before is None:
            found[each.volume, each.about] = each
            continue
        words = before.words
        if each.words not in words.split("; "):
            words = f"{words}; {each.words}"
        mend = before.mend or each.mend
        grave = before.grave or each.grave
        found[each.volume, each.about] = replace(before, words=words, mend=mend, grave=grave)
    return tuple(found.values())
