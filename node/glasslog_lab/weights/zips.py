"""A zip archive by its central directory, read strictly: every entry has one name and bytes of its own.

Only what PyTorch and NumPy write is taken: stored or deflated entries, no encryption, no prefix, no second meaning.
Source: PKWARE APPNOTE 6.3.10. Checksums are not looked at: our digests are of the bytes, and PyTorch may leave
them out.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from glasslog_lab.weights.refusals import quote, refusal, refuse
from glasslog_lab.weights.windows import Window

STORED, DEFLATED = 0, 8
DIRECTORY_BYTES_MAX = 32 << 20
UNPACKED_FREE = 1 << 30  # below, an archive may unpack to any multiple of its size
UNPACKED_RATIO_MAX = 64
_ENTRY = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR = struct.Struct("<4sIQI")
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF
_ENCRYPTED = 0x2041  # encrypted, strongly encrypted, or a masked directory
_CHUNK = 1 << 20


class Member(NamedTuple):
    """One entry: its packed bytes are ``[begin, end)`` of the file, and ``size`` bytes unpacked."""

    name: str
    method: int
    begin: int
    end: int
    size: int


def read_directory(window: Window) -> dict[str, Member]:
    """Return the entries that are files, by name.

    Raises:
        ArtifactError: WEIGHTS-20 no zip or cut short, WEIGHTS-21 encrypted or of an odd kind, WEIGHTS-22 a name twice
            or that leads out, WEIGHTS-23 entries overlap, WEIGHTS-24 too large unpacked.
    """
    begin, size, count = _find_directory(window)
    data = window.read_at(begin, size)
    members = dict[str, Member]()
    at = starts = 0
    places = list[tuple[int, int]]()
    for _ in range(count):
        if at + _ENTRY.size > len(data) or data[at : at + 4] != b"PK\x01\x02":
            refuse("WEIGHTS-20", "the zip directory ends early")
        fields = _ENTRY.unpack_from(data, at)
        name_end = at + _ENTRY.size + fields[10]
        end = name_end + fields[11] + fields[12]
        if end > len(data):
            refuse("WEIGHTS-20", "the zip directory ends early")
        name = _read_name(data[at + _ENTRY.size : name_end], fields[3])
        packed, unpacked, local = _widen(data[name_end : name_end + fields[11]], fields[8], fields[9], fields[16])
        if fields[3] & _ENCRYPTED or fields[4] not in (STORED, DEFLATED) or fields[13] not in (0, _FULL16):
            refuse("WEIGHTS-21", f"the zip entry {quote(name)} is encrypted, split or packed in an odd way")
        start = _find_data(window, name, data[at + _ENTRY.size : name_end], local, fields[4])
        if start + packed > begin or (fields[4] == STORED and packed != unpacked):
            refuse("WEIGHTS-23", f"the zip entry {quote(name)} does not fit where it is said to be")
        if name in members:
            refuse("WEIGHTS-22", f"the zip has two entries named {quote(name)}")
        if not name.endswith("/"):
            members[name] = Member(name, fields[4], start, start + packed, unpacked)
        elif unpacked:
            refuse("WEIGHTS-21", f"the zip folder {quote(name)} has content")
        places.append((local, start + packed))
        at, starts = end, starts + 1
    if at != len(data):
        refuse("WEIGHTS-20", "the zip directory has bytes after its last entry")
    _check_places(places)
    _check_size(members, window.size)
    return members


def inflate(window: Window, member: Member) -> Iterator[bytes]:
    """Yield an entry's bytes unpacked, in pieces of at most a mebibyte.

    Raises:
        ArtifactError: WEIGHTS-25 they are not what the directory says.
    """
    if member.method == STORED:
        for at in range(member.begin, member.end, _CHUNK):
            yield window.read_at(at, min(_CHUNK, member.end - at))
        return
    yield from inflate_raw(window, member.begin, member.end, member.size)


def inflate_raw(window: Window, begin: int, end: int, size: int) -> Iterator[bytes]:
    """Yield what the raw DEFLATE stream at ``[begin, end)`` unpacks to, which must be ``size`` bytes.

    Raises:
        ArtifactError: WEIGHTS-25.
    """
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    left = size
    try:
        for at in range(begin, end, _CHUNK // 4):
            packed = window.read_at(at, min(_CHUNK // 4, end - at))
            while True:
                most = min(_CHUNK, left + 1)
                piece = engine.decompress(packed, most)
                packed = engine.unconsumed_tail
                left -= len(piece)
                if left < 0:
                    refuse("WEIGHTS-25", f"a zip entry unpacks to more than the {size} bytes it states")
                if piece:
                    yield piece
                if engine.eof or (not packed and len(piece) < most):
                    break
    except zlib.error as error:
        raise refusal("WEIGHTS-25", "a zip entry is not what its packing method makes") from error
    if left or not engine.eof or engine.unused_data:
        refuse("WEIGHTS-25", f"a zip entry does not unpack to the {size} bytes it states")


def read_member(window: Window, member: Member, most: int) -> bytes:
    """Return an entry whole, which must be small.

    Raises:
        ArtifactError: WEIGHTS-24 it is larger than ``most``, WEIGHTS-25.
    """
    if member.size > most:
        refuse("WEIGHTS-24", f"the zip entry {quote(member.name)} has {member.size} bytes, at most {most} are read")
    return b"".join(inflate(window, member))


def _find_directory(window: Window) -> tuple[int, int, int]:
    """Return where the directory begins, its bytes, and how many entries it has."""
    tail_at = max(0, window.size - _END.size - _FULL16)
    tail = window.read_at(tail_at, window.size - tail_at)
    found = tail.rfind(b"PK\x05\x06")
    if found < 0 or found + _END.size > len(tail):
        refuse("WEIGHTS-20", "the zip has no directory at its end: it was cut short, or is none")
    _, disk, first, here, count, size, begin, comment = _END.unpack_from(tail, found)
    if found + _END.size + comment != len(tail):
        refuse("WEIGHTS-20", "the zip has bytes after its end")
    ends = tail_at + found
    locator = window.read_at(ends - _LOCATOR.size, _LOCATOR.size) if ends >= _LOCATOR.size else b""
    if locator[:4] == b"PK\x06\x07":  # PyTorch writes the wide record even where nothing needs it
        narrow = (disk, first, here, count, size, begin)
        ends = _LOCATOR.unpack(locator)[2]
        record = window.read_at(ends, _END64.size) if ends + _END64.size <= window.size else b""
        if len(record) < _END64.size or record[:4] != b"PK\x06\x06":
            refuse("WEIGHTS-20", "the zip64 directory is not where it is said to be")
        _, _, _, _, disk, first, here, count, size, begin = _END64.unpack(record)
        fulls = (_FULL16, _FULL16, _FULL16, _FULL16, _FULL32, _FULL32)
        wide = (disk, first, here, count, size, begin)
        if any(one not in (full, other) for one, full, other in zip(narrow, fulls, wide, strict=True)):
            refuse("WEIGHTS-20", "the zip has two directories that differ")
    if disk or first or here != count:
        refuse("WEIGHTS-21", "the zip is one of several parts")
    if size > DIRECTORY_BYTES_MAX:
        refuse("WEIGHTS-24", f"the zip directory has {size} bytes, at most {DIRECTORY_BYTES_MAX} are read")
    if begin + size != ends:
        refuse("WEIGHTS-20", "the zip directory does not end where it is said to")
    return begin, size, count


def _read_name(raw: bytes, flags: int) -> str:
    try:
        name = raw.decode("utf-8" if flags & 0x800 else "ascii")
    except UnicodeDecodeError as error:
        raise refusal("WEIGHTS-22", f"the zip entry name {quote(raw)} is not UTF-8") from error
    parts = name.removesuffix("/").split("/")
    if "\0" in name or "\\" in name or any(part in ("", ".", "..") for part in parts):
        refuse("WEIGHTS-22", f"the zip entry name {quote(name)} leads out of the archive")
    return name


def _widen(extra: bytes, packed: int, unpacked: int, local: int) -> tuple[int, int, int]:
    """Return the sizes and the place of an entry, from its zip64 field where they are said to be there."""
    if _FULL32 not in (packed, unpacked, local):
        return packed, unpacked, local
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            wide = [int.from_bytes(extra[k : k + 8], "little") for k in range(at + 4, at + 4 + length - 7, 8)]
            values = [wide.pop(0) if value == _FULL32 and wide else value for value in (unpacked, packed, local)]
            return values[1], values[0], values[2]
        at += 4 + length
    return packed, unpacked, local


def _find_data(window: Window, name: str, raw: bytes, local: int, method: int) -> int:
    head = window.read_at(local, _LOCAL.size) if local < window.size else b""
    if len(head) < _LOCAL.size or head[:4] != b"PK\x03\x04":
        refuse("WEIGHTS-23", f"the zip entry {quote(name)} is not where the directory says")
    fields = _LOCAL.unpack(head)
    if window.read_at(local + _LOCAL.size, fields[9]) != raw or fields[3] != method:
        refuse("WEIGHTS-23", f"the zip entry {quote(name)} has another name or packing where it lies")
    return local + _LOCAL.size + int(fields[9]) + int(fields[10])


def _check_places(places: list[tuple[int, int]]) -> None:
    end = 0
    for begin, after in sorted(places):
        if begin < end:
            refuse("WEIGHTS-23", f"two zip entries overlap at byte {begin}")
        end = after


def _check_size(members: dict[str, Member], size: int) -> None:
    total = sum(member.size for member in members.values())
    if total > max(UNPACKED_FREE, UNPACKED_RATIO_MAX * size):
        refuse("WEIGHTS-24", f"the zip of {size} bytes unpacks to {total}")
