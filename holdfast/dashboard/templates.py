"""Pages from values, by Jinja2.

Invariant: what is put into a page is escaped, first what would not simply stand there (as on a
terminal), then what means something to a browser; only `Html` of ours is not. Everything is read at
the start: whoever serves may not be able to read it later.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from holdfast.dashboard.words import ago_text, is_command, sign_of, span_text, tone_of
from holdfast.model.size import format_size
from holdfast.model.time_text import milliseconds_text, time_text
from holdfast.model.version import VERSION
from holdfast.receipt_page import section, style, tone
from holdfast.system.messages.printable import printable

_FOLDER = Path(__file__).parent

_TYPES = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".txt": "text/plain",
    ".svg": "image/svg+xml",
}

SECOND_CHARACTERS = len("2026-01-02 03:04:05")


class Templates:
    """All of them, and the files that pages name."""

    def __init__(self, base: str) -> None:
        """`base`: of all paths. Raises OSError."""
        self.files = _files()
        sum_ = hashlib.sha256(b"".join(text for text, _ in self.files.values())).hexdigest()[:12]
        environment = Environment(
            loader=FileSystemLoader(_FOLDER / "templates"),
            autoescape=True,
            auto_reload=False,
            undefined=StrictUndefined,
            finalize=_shown,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.globals |= {
            "base": base,
            "edition": sum_,
            "version": VERSION,
            "tone_of": tone_of,
            "sign_of": sign_of,
            "is_command": is_command,
            "receipt_section": section,
            "receipt_tone": tone,
        }
        environment.filters |= {
            "size": format_size,
            "ms": milliseconds_text,
            "urlencode": lambda text: quote(text, safe="", errors="replace"),
            "ago": ago_text,
            "span": span_text,
            "when": lambda seconds: time_text(seconds)[:SECOND_CHARACTERS],
        }
        self._templates: dict[str, Template] = {
            name: environment.get_template(name) for name in environment.list_templates()
        }

    def page(self, template: str, /, **values: Any) -> str:
        """The page of that template."""
        return self._templates[template].render(values)


def _shown(value: Any) -> Any:
    """Anything that is no HTML of ours as a person may see it."""
    if value is None:
        return ""
    return value if hasattr(value, "__html__") else printable(str(value), keep="\n")


def _files() -> dict[str, tuple[bytes, str]]:
    """By name: contents and type."""
    found = {
        path.name: (path.read_bytes(), _TYPES[path.suffix])
        for path in sorted((_FOLDER / "static").iterdir())
        if path.suffix in _TYPES
    }
    return {**found, "look.css": (style().encode(), _TYPES[".css"])}
