"""What the last restoration of a volume left, from which it can be taken back.

Asks the catalog, and storage in expendable children only. Changes nothing.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from holdfast.catalog import Catalog
from holdfast.containers import is_container_url
from holdfast.errors import Blocked, HoldfastError, NoSuchReceipt
from holdfast.model.finding import Finding, Verdict
from holdfast.model.moment import in_full
from holdfast.model.plan import Strategy
from holdfast.model.receipt import Receipt
from holdfast.model.source import Source
from holdfast.model.volume import Volume
from holdfast.restoration.storage.left_storage import mark_of
from holdfast.system.children.expendable import in_expendable_child


class LeftContents(NamedTuple):
    """The contents that a volume had before its last restoration."""

    url: str
    filesystem: str
    source: Source


def left_by_the_last(catalog: Catalog, volume: Volume) -> LeftContents:
    """What the last restoration of this volume has left, as it was left.

    Raises Blocked where none has made the volume what it is, and where that is not as it was left.
    """
    name = volume.name
    copies = catalog.restorations.copies(name)
    receipts = (_receipt(catalog, each.id) for each in copies)
    last, receipt = next(
        (
            (copy, receipt)
            for copy, receipt in zip(copies, receipts, strict=True)
            if receipt is not None and receipt.details.get("left", {}).get("volume_id") == volume.id
        ),
        (None, None),
    )
    if last is None or receipt is None:
        raise Blocked(
            f"no restore of {name} is known to have left what could be taken back",
            f"holdfast restore {name} --from SOURCE, or --at WHEN, puts other contents in place.",
        )
    by_hand = f"holdfast restore {name} --from {last.urls[0]} takes what that has now."
    if receipt.strategy != Strategy.REWIND:
        raise Blocked(
            f"the last that happened to {name} is no restore but a {receipt.strategy}"
            f" ({receipt.id[:8]}): all that was written since is on the new storage alone",
            by_hand,
        )
    left = receipt.details["left"]
    faults = []
    for url in last.urls:
        fault = _fault(url, left.get("marks", {}).get(url, ""))
        if not fault:
            return LeftContents(url, last.filesystem, _known(receipt, url))
        faults.append(f"{url} {fault}")
    raise Blocked(f"the contents before the last restore: {'; '.join(faults)}", by_hand)


def _receipt(catalog: Catalog, identifier: str) -> Receipt | None:
    try:
        return catalog.receipt(identifier)
    except NoSuchReceipt:
        return None


def _fault(url: str, mark: str) -> str:
    """Why a container is not what was left, in words; empty: it is."""
    if not is_container_url(url):
        return "is no container that could be read by itself"
    if not mark:
        return "could not be read when it was left, so nobody knows whether it was changed"
    try:
        now = in_expendable_child(partial(mark_of, url), doing=url)
    except FileNotFoundError:
        return "is not there"
    except (HoldfastError, OSError) as error:
        return f"cannot be read: {error}"
    return "" if now == mark else "was changed or exchanged since"


def _known(receipt: Receipt, url: str) -> Source:
    then = in_full(receipt.finished)
    told = Finding(
        "undo",
        Verdict.LIMITED,
        f"the restore of {then} ({receipt.id[:8]}) is taken back, from {url}",
        "What was written since then is not in it, and stays in the present containers.",
    )
    return Source(f"{url}, which {receipt.volume} had before", findings=(told,))
