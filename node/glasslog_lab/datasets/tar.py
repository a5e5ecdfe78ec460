"""Archives of files, and of samples as WebDataset packs them: read front to back, nothing unpacked (D3, D11).

The standard library's reader takes headers of any size into memory and follows what it finds; here a member is a plain
file with a relative name, or the archive is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple, NoReturn

from glasslog.records import record_digest, sample_content, start_record
from glasslog_lab.datasets.refusals import quote, refusal, refuse
from glasslog_lab.datasets.sources import CHUNK_BYTES, Expanded
from glasslog_lab.errors import ArtifactError

_BLOCK = 512
_NAME_BYTES_MAX = 4_096
_HEADERS_BYTES_MAX = 1 << 20
_PARTS_MAX = 4_096
_END = bytes(_BLOCK)
_LINKS = {b"1": "a hard link", b"2": "a symbolic link", b"3": "a device", b"4": "a device", b"6": "a pipe",
          b"S": "a sparse file"}  # fmt: skip
_PAX = re.compile(rb"(\d{1,7}) ([^=\n]+)=")


class Member(NamedTuple):
    """A plain file in an archive; ``size`` in bytes."""

    name: str
    size: int


class TarReader:
    """The plain files of an archive, one after another; each must be read before the next is asked for."""

    def __init__(self, name: str, stream: Expanded) -> None:
        self._archive = name
        self._stream = stream
        self._left = 0
        self._padding = 0

    def members(self) -> Iterator[Member]:
        """Yield each plain file of the archive.

        Raises:
            ArtifactError: DATA-19 truncated, not a tar archive, a link, device or sparse file, a name that leads out.
        """
        long_name: bytes | None = None
        pax = dict[bytes, bytes]()
        while (header := self._next_header()) is not None:
            kind, size = header[156:157], self._number(header[124:136])
            if kind in (b"x", b"g"):
                found = self._read_pax(self._read_small(size))
                if kind == b"x":
                    pax = found
                elif found.keys() & {b"path", b"size"}:
                    self._refuse("names or sizes all its files at once")
                continue
            if kind in (b"L", b"K"):  # GNU's long name, and long target of the link that follows
                found_name = self._read_small(size).rstrip(b"\x00")
                long_name = found_name if kind == b"L" else long_name
                continue
            raw = pax.get(b"path") or long_name or self._short_name(header)
            if b"size" in pax:
                size = self._decimal(pax[b"size"])
            long_name, pax = None, {}
            name = self._check_name(raw)
            if kind in _LINKS:
                self._refuse(f"holds {quote(name)}, {_LINKS[kind]}")
            if kind == b"5":
                if size:
                    self._refuse(f"gives the folder {quote(name)} a content")
                continue
            if kind not in (b"0", b"\x00", b"7"):
                self._refuse(f"holds {quote(name)}, of the unknown kind {kind!r}")
            self._start(size)
            yield Member(name, size)
            while self.read(CHUNK_BYTES):
                pass

    def read(self, size: int) -> bytes:
        """Return at most so many bytes more of the member, none at its end."""
        if not self._left:
            return b""
        wanted = min(size, self._left)
        data = self._stream.read(wanted)
        if len(data) < wanted:
            self._refuse("ends inside a file")
        self._left -= wanted
        if not self._left and len(self._stream.read(self._padding)) < self._padding:
            self._refuse("ends inside a file")
        return data

    def _start(self, size: int) -> None:
        self._left, self._padding = size, -size % _BLOCK

    def _next_header(self) -> bytes | None:
        header = self._stream.read(_BLOCK)
        if header == _END:
            for chunk in self._stream.chunks():
                if chunk.strip(b"\x00"):
                    self._refuse("goes on after its end")
            return None
        if len(header) < _BLOCK:
            self._refuse("ends without the mark of its end")
        plain = sum(header) - sum(header[148:156]) + 8 * 32
        if self._number(header[148:156]) != plain:
            self._refuse("is not a tar archive, or is damaged: a header's sum is wrong")
        return header

    def _read_small(self, size: int) -> bytes:
        if size > _HEADERS_BYTES_MAX:
            self._refuse(f"has a header of {size} bytes")
        self._start(size)
        parts = list[bytes]()
        while data := self.read(CHUNK_BYTES):
            parts.append(data)
        return b"".join(parts)

    def _read_pax(self, data: bytes) -> dict[bytes, bytes]:
        found = dict[bytes, bytes]()
        at = 0
        while at < len(data):
            head = _PAX.match(data, at)
            end = at + int(head[1]) if head else 0
            if head is None or not head.end() < end <= len(data) or data[end - 1 : end] != b"\n":
                self._refuse("has a malformed extended header")
            if head[2].startswith(b"GNU.sparse"):
                self._refuse("holds a sparse file")
            if head[2] in found:
                self._refuse("says one thing twice in an extended header")
            found[head[2]] = data[head.end() : end - 1]
            at = end
        return found

    def _short_name(self, header: bytes) -> bytes:
        name = header[:100].partition(b"\x00")[0]
        prefix = header[345:500].partition(b"\x00")[0] if header[257:263] == b"ustar\x00" else b""
        return prefix + b"/" + name if prefix else name

    def _check_name(self, raw: bytes) -> str:
        if len(raw) > _NAME_BYTES_MAX:
            self._refuse(f"holds a name of {len(raw)} bytes")
        try:
            name = raw.decode()
        except UnicodeDecodeError:
            raise self._refusal(f"holds {quote(raw)}, a name that is not UTF-8") from None
        while name.startswith("./"):
            name = name[2:]
        name = name.rstrip("/")
        if not name.isprintable() or name.startswith("/") or ".." in name.split("/"):
            self._refuse(f"holds {quote(name)}, a name that leads out of it")
        return name

    def _number(self, field: bytes) -> int:
        if field[0] & 0x80:  # GNU's, for what octal digits do not hold
            number = int.from_bytes(bytes((field[0] & 0x7F,)) + field[1:], "big")
            if number >= 1 << 63:
                self._refuse("holds a file of an impossible size")
            return number
        digits = field.strip(b" \x00")
        if not re.fullmatch(rb"[0-7]*", digits):
            self._refuse("is not a tar archive, or is damaged: a header's number is none")
        return int(digits or b"0", 8)

    def _decimal(self, digits: bytes) -> int:
        if not re.fullmatch(rb"\d{1,18}", digits):
            self._refuse("holds a file of an impossible size")
        return int(digits)

    def _refusal(self, fact: str) -> ArtifactError:
        return refusal("DATA-19", f"{quote(self._archive)} {fact}")

    def _refuse(self, fact: str) -> NoReturn:
        raise self._refusal(fact)


def read_members(name: str, stream: Expanded) -> Iterator[list[bytes]]:
    """Yield the digest of each file in an archive, as of a file in a folder; raises as ``TarReader.members``."""
    reader = TarReader(name, stream)
    for _ in reader.members():
        state = start_record("bytes")
        while data := reader.read(CHUNK_BYTES):
            state.update(data)
        yield [state.digest()]


def read_samples(name: str, stream: Expanded) -> Iterator[list[bytes]]:
    """Yield the digest of each sample: neighbouring files whose names agree up to the first dot of the last part.

    Raises:
        ArtifactError: DATA-19 as ``TarReader.members``, or a part twice in a sample, or more than 4,096 of them.
    """
    reader = TarReader(name, stream)
    current: str | None = None
    parts = dict[str, bytes]()
    for member in reader.members():
        key, part = split_sample_name(member.name)
        if key != current and parts:
            yield [record_digest("sample", sample_content(parts))]
            parts = {}
        current = key
        if part in parts:
            refuse("DATA-19", f"{quote(name)} holds {quote(member.name)} twice in one sample")
        if len(parts) >= _PARTS_MAX:
            refuse("DATA-19", f"{quote(name)} has more than {_PARTS_MAX} parts in the sample {quote(key)}")
        state = start_record("bytes")
        while data := reader.read(CHUNK_BYTES):
            state.update(data)
        parts[part] = state.digest()
    if parts:
        yield [record_digest("sample", sample_content(parts))]


def split_sample_name(name: str) -> tuple[str, str]:
    """Return the key of a sample and the name of its part: ``a/b.c/7.cls.txt`` is ``cls.txt`` of ``a/b.c/7``."""
    folder, slash, last = name.rpartition("/")
    stem, _, part = last.partition(".")
    return folder + slash + stem, part
