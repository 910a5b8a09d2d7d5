#!/usr/bin/env python3
"""Reads a history of Holdfast without Holdfast: see docs/format.md and docs/history.md.

    read_history.py DIRECTORY                                  what it holds
    read_history.py DIRECTORY IMAGE --from POSITION [--to POSITION|TIME]

The second form writes into IMAGE, a copy of the volume as it was at the position `--from`, what
was written since then, up to a position or a time (2026-11-28T14:02:06, local unless it says
otherwise); without --to, everything. It stops at the first gap, and exits with 1 when it did not
come as far as was asked. IMAGE may be used only when it exits with 0. Whoever writes to DIRECTORY
need not be trusted: he chooses the volume's bytes, and nothing else.
"""

import datetime
import itertools
import os
import re
import struct
import sys
import zlib
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path

SEGMENT = struct.Struct("<8sIIQQ16s16s16sQqqQI")
FRAME = struct.Struct("<8sQQIIqqQII")
RECORD = struct.Struct("<6Q")
DATA, ZEROS, MARK, SETTLED = 1, 3, 4, 2
MOST_BYTES = 16 << 40  # of a volume
SET_BACK_NS = 1_000_000_000  # records are nearly in the order of their times, unless it was set


def local(ns):
    when = datetime.datetime.fromtimestamp(ns / 1e9, datetime.UTC).astimezone()
    return when.isoformat(" ", "milliseconds")


def plain(words):
    """Nothing in them moves a cursor: whoever writes to the directory chose them."""
    return "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in words)


def segments(directory):
    """[(path, fields of the page, its checksum, its reason)], oldest first."""
    found = {}
    for path in Path(directory).iterdir():
        if not re.fullmatch("segment-[0-9]{12,19}", path.name):
            continue
        if path.is_symlink() or not path.is_file():
            continue
        with path.open("rb") as file:
            page = file.read(4096)
        if len(page) < 4096 or page[:8] != b"HFHISTRY":
            continue
        (checksum,) = struct.unpack_from("<I", page, 4092)
        if zlib.crc32(page[:-4]) != checksum:
            continue
        fields = SEGMENT.unpack_from(page)
        if fields[1] != 1:
            sys.exit(f"{path} is of another format: nothing was read")
        reason = plain(page[SEGMENT.size : SEGMENT.size + fields[12]].decode(errors="replace"))
        found[fields[3]] = path, fields, checksum, reason
    left = [found[number] for number in sorted(found)]
    places = {each[1][5]: place for place, each in enumerate(left)}
    chain, place = [], len(left) - 1
    while place >= 0:  # from the newest back: each names its predecessor by its salt
        page = left[place][1]
        chain.append(left[place])
        before = places.get(page[6], place)
        place = before if before < place else place - 1
        while place >= 0 and left[place][1][4] > page[4]:
            place -= 1
    return chain[::-1]


def frames(path, page, checksum, limit):
    """(position, end, records) of each frame that is whole, and ends at the limit or before."""
    end, previous = page[4], checksum
    with path.open("rb") as file:
        file.seek(4096)
        while len(head := file.read(64)) == 64 and head[:8] == b"HFHFRAME":
            _, number, position, size, _, _, _, _, before, covered = FRAME.unpack(head)
            if (number, position, before) != (page[3], end, previous):
                return
            if not 0 < size <= 4 << 20 or size % 64 or position % 64:
                return
            content = file.read(-(-(64 + size) // 4096) * 4096 - 64)[:size]
            if zlib.crc32(content, zlib.crc32(head[:60])) != covered or position + size > limit:
                return
            yield position, position + size, content
            end, previous = end + size, covered


def read(directory):
    """("record", position, end, kind, offset, length, time, payload), ("all", from, to) behind the
    records of each frame, ("gap", from, to, reason, time at which it ended), and ("step", from,
    from, time at which it began): what follows, up to a mark, is one step, and an image in between
    is a mixture."""
    chain = segments(directory)
    for index, (path, page, checksum, _) in enumerate(chain):
        after = chain[index + 1] if index + 1 < len(chain) else None
        follows = after is not None and after[1][6] == page[5]
        limit = 1 << 63
        if after is not None:
            limit = after[1][4] if after[1][2] or not follows else max(after[1][8], page[4])
        end = page[4]
        if page[2] == 2:
            yield "step", end, end, page[10]
        for position, end, content in frames(path, page, checksum, limit):
            place = 0
            while place < len(content):
                at, size, kind, offset, length, time = RECORD.unpack_from(content, place)
                fits = at == position + place and 64 <= size <= len(content) - place
                fits = fits and kind <= MARK and offset + length <= MOST_BYTES
                if not fits or (kind == DATA and length > size - 64):
                    sys.exit(f"{path}: no record at position {position + place}")
                payload = content[place + 64 : place + 64 + length] if kind == DATA else b""
                if kind:  # else a write that never began
                    yield "record", at, at + size, kind, offset, length, time, payload
                place += size
            yield "all", position, end
        if after is not None and not (follows and after[1][2] and end == limit):
            reason = f"{path} is damaged, or what follows it is missing"
            reason = after[3] if follows and end == limit else reason
            yield "gap", end, after[1][4], reason, after[1][10]


def timed(directory):
    """Records, gaps and steps, each with its time, and an end without one. Behind a gap comes what
    was still in memory: it may be older than the file that tells of the gap."""
    waiting = []
    for item in read(directory):
        if item[0] == "record":
            yield from ((each, min(time, item[6])) for each, time in waiting)
            yield item, item[6]
            waiting = []
        elif item[0] != "all":
            waiting.append((item, item[4] if item[0] == "gap" else item[3]))
    yield from [*waiting, (("end", None, None), None)]


def position_at(directory, when_ns):
    """The position at which the clock showed that time; exits when there are several, or none, or
    when nobody can tell: in a gap, in a step, and behind the last record of all."""
    found, newest, last, step = [], None, None, False
    for item, time in timed(directory):
        if newest is None and item[0] == "record" and when_ns < time:
            sys.exit(f"the history begins at position {item[1]}, {local(time)}")
        if newest is not None and newest <= when_ns and (time is None or when_ns < time):
            if item[0] != "record" or step:  # what was written meanwhile is not there
                sys.exit(
                    f"nothing is known of that time: a gap, a step, or the end of the history comes"
                    f" after position {last}, {local(newest)}; --to {last} is what was there then"
                )
            found.append(last)  # the clock passed it between these two
        if time is None or (newest is None and item[0] != "record"):
            continue
        if newest is not None and time < newest - SET_BACK_NS:
            newest = time  # it was set back
        newest, last = max(newest or time, time), item[2]
        settled = item[0] == "gap" or (item[0] == "record" and item[3:5] == (MARK, SETTLED))
        step = item[0] == "step" or (step and not settled)
    if len(set(found)) != 1:
        sys.exit(f"the clock was set: it was then at {sorted(set(found))}; say --to POSITION")
    return found[0]


def steps(directory):
    """(from, to) of each; one that has no end reaches to the next gap, or for ever."""
    found, begin = [], None
    for item in itertools.chain(read(directory), [("gap", 1 << 63, 1 << 63, "")]):
        settled = item[0] == "record" and item[3] == MARK and item[4] == SETTLED
        if begin is not None and (settled or item[0] == "gap"):
            found.append((begin, item[2]))
            begin = None
        if item[0] == "step" and begin is None:
            begin = item[1]
    return found


def show(directory):
    begin = end = times = None
    for item in itertools.chain(read(directory), [("gap", None, None, "")]):
        if item[0] == "record":
            begin, end = item[1] if begin is None else begin, item[2]
            times = [*(times or []), item[6]]
            times = [min(times), max(times)]
        elif item[0] == "gap":
            if times:
                print(f"{begin} to {end}: everything, {local(times[0])} to {local(times[1])}")
            if item[1] is not None:
                print(f"{item[1]} to {item[2]}: GAP ({item[3]})")
            begin = times = None


def apply(directory, image, start, to):
    """The exit status."""
    chain, reached, records, why = segments(directory), start, 0, ""
    if not chain or start < chain[0][1][4]:
        sys.exit(f"the history does not reach back to position {start}")
    if to is not None and to < start:
        sys.exit(f"the image is at position {start}, which is later than {to}")
    for begin, end in steps(directory):
        if to is not None and begin < to < end and start < to:
            sys.exit(f"positions {begin} to {end} are one step: nothing in between ever was")
    with Path(image).open("r+b") as file:
        room = file.seek(0, os.SEEK_END)
        for what, position, end, *rest in read(directory):
            if end <= start or what == "step":
                continue
            if to is not None and end > to and (what != "gap" or position >= to):
                reached = to
                break
            if what == "gap":
                why = f": a gap begins at position {position} ({rest[0]})"
                break
            reached = end
            if what == "all":
                continue
            kind, offset, length, _, payload = rest
            if kind != MARK and offset + length > room:
                sys.exit(f"{image} is smaller than the volume was, or its size was changed")
            file.seek(offset)
            file.write(payload)
            for done in range(0, length if kind == ZEROS else 0, 1 << 20):
                file.write(bytes(min(1 << 20, length - done)))
            records += 1
        file.flush()
        os.fsync(file.fileno())
    print(f"{records} records from position {start}: {image} is at position {reached}{why}")
    return int(bool(why) or (to is not None and reached < to))


def main():
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("directory")
    parser.add_argument("image", nargs="?")
    parser.add_argument("--from", type=int, dest="start", metavar="POSITION")
    parser.add_argument("--to", metavar="POSITION|TIME")
    given = parser.parse_args()
    if given.image is None:
        return show(given.directory)
    if given.start is None:
        parser.error("--from: at which position is the image?")
    to = given.to
    if to is not None and not to.isdecimal():
        try:
            when = datetime.datetime.fromisoformat(to)
        except ValueError:
            parser.error("--to: neither a position nor a time, e.g. 2026-11-28T14:02:06")
        if when.timestamp() != when.replace(fold=1).timestamp():
            parser.error(f"--to: clocks here showed that twice, or never: say {to}+01:00 or so")
        to = position_at(given.directory, int(when.timestamp() * 1e9))
    return apply(given.directory, given.image, given.start, None if to is None else int(to))


if __name__ == "__main__":
    sys.exit(main())
