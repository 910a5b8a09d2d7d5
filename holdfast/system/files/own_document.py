"""What is written down in a file of ours as one JSON object with a version: read, and replaced.

Invariant: nobody else can have written it (see trusted), and it is whole or not there at all (see
durable). Blocks as the state directory's storage does.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from holdfast.model.bounded import FIRST_VERSION, read_object, typed, with_version, without_version
from holdfast.system.files.durable import replace_durably
from holdfast.system.files.trusted import open_file, own_directory

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Kind = TypeVar("Kind")


def read_document(path: Path, kind: type[Kind], most_bytes: int, what: str) -> Kind:
    """The values of the file, as that dataclass; `what` names it in an error.

    Raises FileNotFoundError, OSError (NewerFormat), ValueError (garbled, or longer than
    `most_bytes`), Untrusted.
    """
    with open(open_file(path, os.O_RDONLY), "rb") as file:
        text = file.read(most_bytes + 1)
    values, _ = without_version(read_object(text, most_bytes), what, FIRST_VERSION)
    return typed(kind, values)


def write_document(path: Path, values: DataclassInstance) -> None:
    """Durable on return; nobody but root can read it. Makes the folder. Raises OSError,
    Untrusted."""
    own_directory(path.parent)
    replace_durably(path, json.dumps(with_version(asdict(values), FIRST_VERSION)))
