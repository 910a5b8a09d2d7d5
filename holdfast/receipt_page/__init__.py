"""Receipts as pages: what happened as a picture, for a browser that asks nobody for anything.

    html       HTML that is put together from parts; what strangers chose is escaped
    details    what a receipt tells beside what every receipt has, in words
    gantt      steps as bars on a common time line, one SVG
    page       the part of a page that is one receipt, and a whole document of one or several

Invariant: pure; a document has its style in it, no script, and names no other resource. Written
with
the standard library, so that a plain installation can make it.
"""

from holdfast.receipt_page.html import Html, element
from holdfast.receipt_page.page import document, first_line, section, style, table, tone

__all__ = ["Html", "document", "element", "first_line", "section", "style", "table", "tone"]
