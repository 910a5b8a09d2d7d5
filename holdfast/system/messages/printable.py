"""Text for people: nothing in it moves the cursor, forges a line or turns the reading direction.

Names of files, processes and mounts come from strangers. What is written for programs (JSON) is
not changed here but escaped by its own rules, see `cli/output`. Pure.
"""

from __future__ import annotations

_SHORT = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}


def printable(text: str, keep: str = "") -> str:
    r"""The text with every character escaped that does not simply stand there: `\x1b`, `\u202e`.

    Those are control characters, separators of lines, marks of direction, invisible and unassigned
    characters, and bytes that were no UTF-8 (as os.fsdecode keeps them: `\xe9`). `keep`: characters
    that are meant, such as the line ends of a text of several lines.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in keep else _escaped(each) for each in text)


def printable_lines(text: str, indent: str = "    ") -> str:
    """A message of several lines: those after the first are indented, so none passes for another's.

    Everything else is escaped as `printable` does.
    """
    return printable(text.strip("\n").replace("\n", "\n" + indent), keep="\n")


def _escaped(character: str) -> str:
    if character in _SHORT:
        return _SHORT[character]
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # a byte that os.fsdecode could not read (PEP 383)
        return f"\\x{number - 0xDC00:02x}"
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
