"""The contents that a volume had at a moment, as what it is restored from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from holdfast.containers import image_url
from holdfast.errors import InvalidOption
from holdfast.model.reporter import SILENT, Reporter
from holdfast.service.holdfast import Holdfast
from holdfast.service.requests import RestoreRequest


@contextmanager
def as_it_was(
    holdfast: Holdfast, request: RestoreRequest, reporter: Reporter = SILENT
) -> Iterator[RestoreRequest]:
    """The request with an image of that moment for its contents, for as long as this lasts.

    One without a moment is left as it is. The image is proven to be complete, its file system at
    rest; made from a copy and the history, it takes as long as a clone. Raises what `Clones.plan`
    does, ContainerFailed.
    """
    if not request.at:
        yield request
        return
    if request.contents:
        raise InvalidOption(
            "a moment and other contents were named", "Give one of --at WHEN and --from SOURCE."
        )
    with holdfast.histories.clones.hidden(request.volume, request.at, reporter) as view:
        view.bring_to_rest(reporter)
        yield replace(request, at="", contents=image_url(Path(view.image)))
