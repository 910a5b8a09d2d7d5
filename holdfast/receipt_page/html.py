"""HTML and SVG that are put together from parts. Pure.

Invariant: text and values of attributes are escaped here, once: first what would not simply stand
there (control characters, marks of direction, bytes that are no UTF-8), then what means something
to a browser.
"""

from __future__ import annotations

import html

from holdfast.system.messages.printable import printable

_VOID = frozenset({"br", "circle", "hr", "input", "line", "link", "meta", "path", "rect"})


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()

    def __html__(self) -> str:
        """What template engines ask for: it is not escaped again."""
        return str(self)


def escaped(text: str) -> Html:
    """Anybody's text, as it can stand in an element or in the quotes of an attribute."""
    return text if isinstance(text, Html) else Html(html.escape(printable(text)))


def element(name: str, /, *inside: str, **attributes: str | float | None) -> Html:
    """One element. `inside`: texts, which are escaped, and elements. Attributes: `class_` is
    `class`, `stroke_width` is `stroke-width`; None: it has none of that name."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(_written(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID and not inside:
        return Html(f"<{name}{given}/>")
    return Html(f"<{name}{given}>{joined(*inside)}</{name}>")


def joined(*parts: str) -> Html:
    """Several, one after the other."""
    return Html("".join(map(escaped, parts)))


def _written(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.10g}"
