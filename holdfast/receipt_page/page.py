"""The part of a page that is one receipt, and a whole document of one or several. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from holdfast.model.receipt import Receipt
from holdfast.model.size import format_size
from holdfast.model.time_text import milliseconds_text, time_text
from holdfast.model.version import VERSION
from holdfast.receipt_page.details import detail_facts
from holdfast.receipt_page.gantt import Bar, BarSpan, gantt, span_of
from holdfast.receipt_page.html import Html, element

_SECOND_CHARACTERS = len("2026-01-02 03:04:05")

_MOST_BARS, _MOST_ROWS = 12, 200
"""Processes that are drawn, and those that are listed: one restoration can stop thousands."""

_CLOSE_UP = 0.6
"""Of all of the time: when everybody stood still for less, that part has a picture of its own."""

_BAD = ("fail", "undone", "abandoned", "lost", "given up", "error", "interrupted")
"""How words of an outcome begin that is not what was wanted."""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""Of a document that is opened as a file: nothing is loaded, and no script runs."""


@cache
def style() -> str:
    """Colours, letters, tables and pictures: what every page has."""
    return Path(__file__).with_name("look.css").read_text()


def tone(receipt: Receipt) -> str:
    """good · bad: whether applications were spared errors, and what was begun came to its end."""
    outcome = receipt.outcome.lower().replace(",", " ").replace(":", " ").split()
    spoilt = any(word.startswith(_BAD) for word in outcome)
    return "bad" if spoilt or receipt.errors_returned else "good"


def document(receipts: Sequence[Receipt], title: str, lead: str = "") -> str:
    """One file, complete in itself. `lead`: what is said before them."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        Html(f"<style>{style()}</style>"),
    )
    several = len(receipts) > 1
    body = element(
        "body",
        element(
            "main",
            *((element("h1", title), element("p", lead, class_="lead")) if several else ()),
            *(section(each, level=2 if several else 1) for each in receipts),
            element("footer", f"Made by Holdfast {VERSION}. Times are UTC."),
        ),
        class_="alone",
    )
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def section(receipt: Receipt, level: int = 1) -> Html:
    """One receipt. `level`: of its heading, 1 or 2."""
    heading, below = f"h{level}", f"h{level + 1}"
    return element(
        "article",
        element(
            "header",
            element(heading, f"{receipt.strategy} of {receipt.volume}"),
            element("p", receipt.outcome, class_=f"outcome {tone(receipt)}"),
            element("p", receipt.cause, class_="cause") if receipt.cause else "",
            class_="receipt-head",
        ),
        _figures(receipt),
        *_pictures(receipt, below),
        *_steps(receipt, below),
        *_processes(receipt, below),
        *_facts(receipt, below),
        class_="receipt",
    )


def _figures(receipt: Receipt) -> Html:
    """What one looks for first."""
    figures = [
        ("longest wait", milliseconds_text(receipt.longest_wait_ms), ""),
        ("errors returned", str(receipt.errors_returned), "bad" if receipt.errors_returned else ""),
        ("requests held", str(receipt.requests_held), ""),
        ("all of it took", milliseconds_text(_seconds(receipt) * 1000), ""),
    ]
    if receipt.processes:
        figures.append(("processes stood still", str(len(receipt.processes)), ""))
    if receipt.bytes_replayed:
        figures.append(("replayed", format_size(receipt.bytes_replayed), ""))
    return element(
        "dl",
        *(
            element("div", element("dt", name), element("dd", value, class_=kind or None))
            for name, value, kind in figures
        ),
        class_="figures",
    )


def _pictures(receipt: Receipt, heading: str) -> list[Html]:
    return [
        part
        for title, bars, span in _charts(receipt)
        for part in (element(heading, title), _scrolled(gantt(bars, span, title)))
    ]


def _charts(receipt: Receipt) -> Iterator[tuple[str, list[Bar], BarSpan]]:
    """Title, bars and span of each picture."""
    bars = [
        Bar(step.name, step.started, max(0.0, step.seconds), step.outcome, _kind(step.outcome))
        for step in receipt.steps
    ]
    if bars:
        whole = span_of([*bars, Bar("", receipt.started, _seconds(receipt))])
        pause = _pause(receipt)
        if pause is None or pause.seconds >= _CLOSE_UP * whole.seconds:
            yield "Time line", bars, whole
        else:
            close = [bar for bar in bars if pause.begin <= bar.started <= pause.end]
            still = Bar("everybody stands still", pause.begin, pause.seconds, kind="wait")
            rest = [bar for bar in bars if bar not in close]
            yield "Time line", sorted([*rest, still], key=lambda bar: bar.started), whole
            yield "While everybody stood still", close, pause
    longest = sorted(receipt.processes, key=_frozen_ms, reverse=True)[:_MOST_BARS]
    if longest:
        waits = [
            Bar(f"{each.get('name', '')} ({each.get('pid', '')})", 0, _frozen_ms(each) / 1000,
                kind="wait")
            for each in longest
        ]  # fmt: skip
        yield "Who stood still, and for how long", waits, span_of(waits)


def _pause(receipt: Receipt) -> BarSpan | None:
    """From the freeze to the thaw."""
    begun = [step.started for step in receipt.steps if step.name == "freeze"]
    ended = [step.started + step.seconds for step in receipt.steps if step.name == "thaw"]
    return BarSpan(begun[0], ended[-1]) if begun and ended and ended[-1] > begun[0] else None


def _steps(receipt: Receipt, heading: str) -> list[Html]:
    if not receipt.steps:
        return []
    rows = [
        (
            f"+{(step.started - receipt.started) * 1000:.3f} ms",
            step.name,
            f"{step.seconds * 1000:.3f} ms",
            step.outcome,
        )
        for step in receipt.steps
    ]
    columns = ("after", "step", "took", "outcome")
    return [element(heading, "Steps"), table(columns, rows, ("after", "took"))]


def _processes(receipt: Receipt, heading: str) -> list[Html]:
    if not receipt.processes:
        return []
    rows = [
        (
            str(each.get("pid", "")),
            str(each.get("name", "")),
            milliseconds_text(_frozen_ms(each)),
            _handles(each.get("handles")),
        )
        for each in receipt.processes[:_MOST_ROWS]
    ]
    columns = ("pid", "process", "stood still", "handles")
    made = [element(heading, "Processes"), table(columns, rows, ("pid", "stood still"))]
    more = len(receipt.processes) - _MOST_ROWS
    return [*made, element("p", f"and {more} more", class_="more")] if more > 0 else made


def _facts(receipt: Receipt, heading: str) -> list[Html]:
    pairs = [
        ("receipt", receipt.id),
        ("started", time_text(receipt.started)),
        ("finished", time_text(receipt.finished)),
    ]
    if receipt.verification:
        pairs.append(("verification", receipt.verification))
    for key, value in receipt.details.items():
        pairs += detail_facts(key, value)
    parts: list[Html] = []
    for name, value in pairs:
        if name:
            parts.append(element("dt", name))
        parts.append(element("dd", value))
    return [element(heading, "What else is known"), element("dl", *parts, class_="facts")]


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> Html:
    """`right`: columns of numbers."""
    kinds = ["number" if column in right else None for column in columns]
    head = (element("th", each, scope="col", class_=kind)
            for each, kind in zip(columns, kinds, strict=True))  # fmt: skip
    lines = [
        element(
            "tr",
            *(element("td", each, class_=kind) for each, kind in zip(row, kinds, strict=True)),
        )
        for row in rows
    ]
    body = (element("thead", element("tr", *head)), element("tbody", *lines))
    return _scrolled(element("table", *body))


def _scrolled(wide: Html) -> Html:
    """What may be wider than the page scrolls by itself, also by keys."""
    is_table = wide.startswith("<table")
    label = "Table" if is_table else None
    return element(
        "div",
        wide,
        class_="wide",
        tabindex="0" if is_table else None,
        role="group" if is_table else None,
        aria_label=label,
    )


def _handles(handles: object) -> str:
    """kind → outcome → how many, in words."""
    if not isinstance(handles, Mapping):
        return ""
    words = []
    for kind, outcomes in handles.items():
        counts = outcomes.items() if isinstance(outcomes, Mapping) else ()
        words += [f"{count} {kind} {outcome}" for outcome, count in counts]
    return ", ".join(words)


def _kind(outcome: str) -> str:
    return "failed" if outcome.lower().startswith(_BAD) else "step"


def _frozen_ms(process: Mapping[str, Any]) -> float:
    value = process.get("frozen_ms", 0.0)
    return float(value) if isinstance(value, int | float) else 0.0


def _seconds(receipt: Receipt) -> float:
    return max(0.0, receipt.finished - receipt.started)


def first_line(receipt: Receipt) -> str:
    """What a receipt is, in one line: a title."""
    begun = time_text(receipt.started)[:_SECOND_CHARACTERS]
    return f"{receipt.strategy} of {receipt.volume}, {begun}"
