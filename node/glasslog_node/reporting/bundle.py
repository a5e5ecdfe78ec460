"""Report bundles: all that a report was made from, as one file, from which anybody makes it again (G2, G4).

A zip of stored members, none compressed, with one date, in one order: ``manifest.json``, ``policy``, ``reply``, then
the published log in the layout of C2SP tlog-tiles, and ``report.json`` last. What does not have exactly this form is
refused before anything is read from it, so no member can grow, hide, or stand for another.
"""

from __future__ import annotations

import json
import re
import struct
import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, cast

from glasslog.audit import Source
from glasslog.audit.reporting import Order, SigningKey, Software
from glasslog.note import NOTE_BYTES_MAX
from glasslog.policy import POLICY_BYTES_MAX
from glasslog.tiles import TILE_WIDTH, entries_path, tile_path, tile_width
from glasslog_node.errors import ConfigError
from glasslog_node.reporting.published_log import PublishedLog
from glasslog_node.sources.tlog import TlogSource

FORMAT = "glasslog-report-bundle/1"
REPLY_BYTES_MAX = 1 << 20
MANIFEST_BYTES_MAX = 1 << 20
REPORT_BYTES_MAX = 64 << 20
MEMBERS_MAX = 1 << 18
TEXT_MAX = 20_000
_DIRECTORY_BYTES_MAX = 64 << 20
_NEXT = "get the bundle again from whoever made the report"
_MEMBER = re.compile(
    r"manifest\.json|policy|reply|checkpoint|report\.json|tile/(?:entries|[0-5])(?:/x[0-9]{3}){0,4}/[0-9]{3}(?:\.p/[0-9]{1,3})?"
)
# What zipfile raises of a file that is not as it should be; RuntimeError where it is encrypted or of another version.
_DAMAGE = (zipfile.BadZipFile, RuntimeError, OSError, EOFError, ValueError, struct.error)
_DATE = (1980, 1, 1, 0, 0, 0)
_END, _END64, _LOCATOR = 22, 56, 20


@dataclass(frozen=True, slots=True)
class ReportBundle:
    """An opened bundle. ``report`` is the JSON it was made with, None where its maker did not finish it."""

    order: Order
    log: Source
    report: bytes | None


def _refuse(path: Path | str, fact: str) -> ConfigError:
    return ConfigError("REPORT-03", f"{path} is no report bundle: {fact}", _NEXT)


# --- writing ----------------------------------------------------------------------------------------


def write_bundle(file: BinaryIO, order: Order, source: Source) -> None:
    """Write a bundle of an order and a replica's published log. ``add_report`` finishes it.

    Raises what ``source`` raises where it cannot be read.
    """
    log = PublishedLog(source)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as out:
        _put(out, "manifest.json", _encode_manifest(order))
        _put(out, "policy", order.policy)
        if order.reply is not None:
            _put(out, "reply", order.reply)
        note = log.checkpoint()
        if note is not None:
            _put(out, "checkpoint", note)
        for run in log.runs():
            index = run.first_index // TILE_WIDTH
            _put(out, entries_path(index, tile_width(log.size, 0, index)), run.bundle)
        level = 0
        while log.size >> 8 * level:
            for index in range(-(-(log.size >> 8 * level) // TILE_WIDTH)):
                width = tile_width(log.size, level, index)
                tile = log.tile(level, index, width)
                if tile is not None:
                    _put(out, tile_path(level, index, width), tile)
            level += 1


def add_report(file: BinaryIO, report: bytes) -> None:
    """Put the report's JSON behind all else."""
    with zipfile.ZipFile(file, "a", zipfile.ZIP_STORED) as out:
        _put(out, "report.json", report)


def _put(out: zipfile.ZipFile, name: str, data: bytes) -> None:
    info = zipfile.ZipInfo(name, _DATE)
    info.create_system, info.external_attr = 3, 0o100644 << 16
    out.writestr(info, data)


def _encode_manifest(order: Order) -> bytes:
    value = {
        "format": FORMAT,
        "question": order.question,
        "scope": order.scope,
        "policy_source": order.policy_source,
        "model": None if order.model is None else order.model.hex(),
        "examiners": list(order.examiners),
        "keys": [[key.algorithm, key.key, key.fingerprint] for key in order.keys],
        "finished": order.finished,
        "software": [order.software.name, order.software.version, order.software.digest],
        "policy_sha256": sha256(order.policy).hexdigest(),
        "reply_sha256": None if order.reply is None else sha256(order.reply).hexdigest(),
    }
    return (json.dumps(value, indent=2, ensure_ascii=True) + "\n").encode()


# --- reading ----------------------------------------------------------------------------------------


@contextmanager
def open_bundle(path: Path) -> Generator[ReportBundle]:
    """Open a bundle; its log is read as it is asked for.

    Raises:
        ConfigError: REPORT-02 it cannot be read, REPORT-03 it is not a bundle.
    """
    try:
        with path.open("rb") as file, _open_zip(path, file) as members:
            yield _read(path, members)
    except OSError as e:
        raise ConfigError("REPORT-02", f"{path}: {(e.strerror or str(e)).lower()}", "check the path") from e


def _open_zip(path: Path, file: BinaryIO) -> zipfile.ZipFile:
    """Open the zip, once its directory is known to be of a size that memory bears and of the one form."""
    _check_directory(path, file)
    try:
        members = zipfile.ZipFile(file)
    except _DAMAGE as e:
        raise _refuse(path, f"its directory cannot be read ({str(e)[:80].lower()})") from e
    seen = set[str]()
    for info in members.infolist():
        name = info.filename
        if not _MEMBER.fullmatch(name):
            raise _refuse(path, f"it has a member {name[:80]!r}, which none has")
        if name in seen:
            raise _refuse(path, f"it has {name} twice")
        seen.add(name)
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size or info.flag_bits & 1:
            raise _refuse(path, f"{name} is compressed or encrypted")
    return members


def _check_directory(path: Path, file: BinaryIO) -> None:
    size = file.seek(0, 2)
    file.seek(max(0, size - _END - _LOCATOR - _END64))
    tail = file.read()
    end = tail[-_END:]
    if len(end) < _END or not end.startswith(b"PK\5\6") or end[-2:] != b"\0\0":
        raise _refuse(path, "it does not end as one, and may have been cut off")
    count, directory = struct.unpack_from("<HI", end, 10)
    if count == 0xFFFF or directory == 0xFFFFFFFF:
        whole = tail[: -_END - _LOCATOR]
        if len(whole) < _END64 or not whole.startswith(b"PK\6\6"):
            raise _refuse(path, "its directory is not where it should be")
        count, directory = struct.unpack_from("<QQ", whole, 32)
    if count > MEMBERS_MAX or directory > _DIRECTORY_BYTES_MAX:
        raise _refuse(path, f"it has {count} members in a directory of {directory} bytes, more than is read")


def _read_member(path: Path, members: zipfile.ZipFile, name: str, size_max: int) -> bytes | None:
    try:
        info = members.getinfo(name)
    except KeyError:
        return None
    if info.file_size > size_max:
        raise _refuse(path, f"{name} has {info.file_size} bytes, at most {size_max} are read")
    try:
        return members.read(info)
    except _DAMAGE as e:
        raise _refuse(path, f"{name} is damaged ({str(e)[:80].lower()})") from e


def _read(path: Path, members: zipfile.ZipFile) -> ReportBundle:
    read = partial(_read_member, path, members)
    manifest, policy = read("manifest.json", MANIFEST_BYTES_MAX), read("policy", POLICY_BYTES_MAX)
    reply = read("reply", REPLY_BYTES_MAX)
    if manifest is None or policy is None:
        raise _refuse(path, "it has no manifest or no policy")
    try:
        order = _decode_manifest(manifest, policy, reply)
    except (ValueError, TypeError, KeyError, RecursionError) as e:
        raise _refuse(path, f"its manifest is not of the form ({str(e)[:80]})") from e
    return ReportBundle(order, PublishedLog(BundledLog(path, members)), read("report.json", REPORT_BYTES_MAX))


def _decode_manifest(manifest: bytes, policy: bytes, reply: bytes | None) -> Order:
    value = json.loads(manifest)
    if not isinstance(value, dict):
        raise TypeError("not an object")
    told = cast("dict[str, object]", value)
    model = told["model"]
    order = Order(
        question=_text(told["question"]),
        scope=_text(told["scope"]),
        policy=policy,
        policy_source=_text(told["policy_source"]),
        model=None if model is None else _digest(model),
        examiners=tuple([_text(one) for one in _list(told["examiners"])]),
        keys=tuple([SigningKey(*[_text(one) for one in _list(key, 3)]) for key in _list(told["keys"])]),
        finished=_text(told["finished"]),
        software=Software(*[_text(one) for one in _list(told["software"], 3)]),
        reply=reply,
    )
    if reply is not None:
        reply.decode()
    if _encode_manifest(order) != manifest:
        raise ValueError("it is spelt otherwise, or policy or reply are not those that it names")
    return order


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > TEXT_MAX:
        raise TypeError("a text is none, or too long")
    value.encode()
    return value


def _digest(value: object) -> bytes:
    digest = bytes.fromhex(_text(value))
    if len(digest) != 32:
        raise ValueError("a content root has 32 bytes")
    return digest


def _list(value: object, length: int | None = None) -> list[object]:
    if not isinstance(value, list):
        raise TypeError("a list is none")
    items = cast("list[object]", value)
    if len(items) > 64 or (length is not None and len(items) != length):
        raise ValueError("a list is not as long as it should be")
    return items


class BundledLog(TlogSource):
    """The log inside a bundle."""

    def __init__(self, path: Path, members: zipfile.ZipFile) -> None:
        self._path = path
        self._members = members

    @property
    def label(self) -> str:
        """The bundle."""
        return str(self._path)

    @property
    def size(self) -> int:
        """The published size; without a checkpoint that can be read, as many leaves as lie there."""
        return self._size or self._count_leaves()

    def _count_leaves(self) -> int:
        count = 0
        for info in self._members.infolist():
            if info.filename.startswith("tile/entries/"):
                _, _, width = info.filename.partition(".p/")
                count += int(width) if width else TILE_WIDTH
        return count

    def read(self, path: str, *, size_max: int) -> bytes | None:
        """Return a member's bytes.

        Raises:
            ConfigError: REPORT-03, it is damaged or too large.
        """
        limit = NOTE_BYTES_MAX if path == "checkpoint" else size_max
        return _read_member(self._path, self._members, path, limit)
