"""PyTorch's two file formats, and TorchScript archives, which are the first of them.

*zip* (since 1.6): ``<root>/data.pkl`` describes, ``<root>/data/<key>`` holds one storage each, ``<root>/byteorder``
says in which order. *legacy*: five pickles one after the other, then every storage behind its element count. Source:
``torch.serialization`` 2.13 and the TorchScript serialisation notes of PyTorch.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from glasslog_lab.weights.dtypes import BITS, SWAP
from glasslog_lab.weights.layout import Container, Deflated, Placed, Role, Source, Span, Strided
from glasslog_lab.weights.pickles import Persistent, Value, is_dict, is_list, is_tuple, read_pickle
from glasslog_lab.weights.refusals import quote, refuse
from glasslog_lab.weights.torch_objects import list_tensors
from glasslog_lab.weights.torch_tensors import Storage, TensorValue, read_storage
from glasslog_lab.weights.windows import Cursor, MemoryWindow, Window
from glasslog_lab.weights.zips import DEFLATED, Member, read_member

PICKLE_BYTES_MAX = 256 << 20
PACKED_PICKLE_BYTES_MAX = 32 << 20
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_START = re.compile(rb"\x80[\x02-\x05](?:\x95.{8})?\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19\.", re.DOTALL)
_LEGACY_VERSION = 1001
_ROOT = re.compile(r"([^/]+)/data\.pkl")
_CUT = "WEIGHTS-30"

Place = tuple[int, int, int]  # begin and end of a storage's bytes, and the method of a zip entry


def find_root(members: dict[str, Member]) -> str | None:
    """Return the folder in which a zip keeps a PyTorch archive; None where it is none.

    Raises:
        ArtifactError: WEIGHTS-34 it keeps several.
    """
    roots = [found[1] for name in members if (found := _ROOT.fullmatch(name))]
    if len(roots) > 1 or (roots and not all(name.startswith(f"{roots[0]}/") for name in members)):
        refuse("WEIGHTS-34", "the zip holds more than one PyTorch archive")
    return roots[0] if roots else None


def read_zip(name: str, window: Window, members: dict[str, Member], root: str) -> Container:
    """Return the tensors of a PyTorch or TorchScript archive.

    Raises:
        ArtifactError: WEIGHTS-16, WEIGHTS-24, WEIGHTS-25, WEIGHTS-30 to WEIGHTS-36.
    """
    order = members.get(f"{root}/byteorder")
    swapped = order is not None and _read_order(read_member(window, order, 16))
    script = f"{root}/constants.pkl" in members
    listed = list[Placed]()
    for pickle, folder, prefix in (("data", "data", ""), ("constants", "constants", "CONSTANTS.c")):
        if (entry := members.get(f"{root}/{pickle}.pkl")) is None:
            continue
        value = _read_entry(window, entry)
        if prefix and (is_tuple(value) or is_list(value)):
            value = {f"{prefix}{number}": one for number, one in enumerate(value)}

        def find(storage: Storage, folder: str = folder) -> tuple[Place, int]:
            return _find_member(members, f"{root}/{folder}/{storage.key}", storage)

        listed += _place(name, list_tensors(value), find, swapped=swapped)
    return Container("torchscript" if script else "pytorch", tuple(listed))


def read_legacy(name: str, window: Window) -> Container:
    """Return the tensors of a file that ``torch.save`` wrote before PyTorch 1.6.

    Raises:
        ArtifactError: WEIGHTS-16, WEIGHTS-30 to WEIGHTS-36.
    """
    cursor = Cursor(window, 0, window.size, _CUT)
    magic, version, system = read_pickle(cursor), read_pickle(cursor), read_pickle(cursor)
    if magic != LEGACY_MAGIC or version != _LEGACY_VERSION or not is_dict(system):
        refuse("WEIGHTS-34", "is of a version of PyTorch's old format that is not known here")
    persistent = list[Persistent]()
    tensors = list_tensors(read_pickle(cursor, persistent))
    keys = read_pickle(cursor)
    if not is_list(keys) or not all(isinstance(key, str) for key in keys):
        refuse("WEIGHTS-34", "does not list its storages")
    swapped = system.get("little_endian", True) is False
    places = _read_places(cursor, keys, persistent, swapped=swapped)

    def find(storage: Storage) -> tuple[Place, int]:
        if storage.key not in places:
            refuse("WEIGHTS-35", f"does not hold the storage {quote(storage.key)}")
        return places[storage.key], storage.first

    return Container("pytorch", tuple(_place(name, tensors, find, swapped=swapped)))


def _read_order(text: bytes) -> bool:
    if text not in (b"little", b"big"):
        refuse("WEIGHTS-34", f"states the unknown byte order {quote(text)}")
    return text == b"big"


def _read_entry(window: Window, entry: Member) -> Value:
    if entry.method == DEFLATED:
        data = read_member(window, entry, PACKED_PICKLE_BYTES_MAX)
        return read_pickle(Cursor(MemoryWindow(data), 0, len(data), _CUT))
    if entry.size > PICKLE_BYTES_MAX:
        refuse("WEIGHTS-31", f"the pickle has {entry.size} bytes, at most {PICKLE_BYTES_MAX} are read")
    return read_pickle(Cursor(window, entry.begin, entry.end, _CUT))


def _find_member(members: dict[str, Member], path: str, storage: Storage) -> tuple[Place, int]:
    member = members.get(path)
    if member is None:
        refuse("WEIGHTS-35", f"does not hold the storage {quote(path)}")
    needed = storage.count * (BITS[storage.dtype] // 8 if storage.dtype else 1)
    if needed > member.size:
        refuse("WEIGHTS-36", f"the storage {quote(path)} has {member.size} bytes of {needed}")
    return (member.begin, member.end, member.size if member.method == DEFLATED else -1), storage.first


def _read_places(cursor: Cursor, keys: list[str], persistent: list[Persistent], *, swapped: bool) -> dict[str, Place]:
    """Return where each storage of a legacy file is. Their element counts are in the order of the file's bytes."""
    widths = dict[str, int]()
    for storage in (read_storage(one.pid) for one in persistent):
        width = BITS[storage.dtype] // 8 if storage.dtype else 1
        if widths.setdefault(storage.key, width) != width:
            refuse("WEIGHTS-36", f"the storage {quote(storage.key)} has two element sizes")
    places = dict[str, Place]()
    for key in keys:
        if key not in widths or key in places:
            refuse("WEIGHTS-36", f"the storage {quote(key)} belongs to no tensor, or stands twice")
        count = int.from_bytes(cursor.read(8), "big" if swapped else "little")
        begin = cursor.offset
        cursor.skip(count * widths[key])
        places[key] = (begin, cursor.offset, -1)
    if cursor.offset != cursor.end:
        refuse("WEIGHTS-36", f"has {cursor.end - cursor.offset} bytes after its last storage")
    return places


def _place(
    name: str,
    tensors: list[tuple[str, TensorValue, Role]],
    find: Callable[[Storage], tuple[Place, int]],
    *,
    swapped: bool,
) -> list[Placed]:
    placed = list[Placed]()
    for title, tensor, role in tensors:
        place, first = find(tensor.storage)
        source = _make_source(name, tensor, place, first, swapped=swapped)
        placed.append(Placed(title, tensor.dtype, tensor.shape, source, role))
    return placed


def _make_source(name: str, tensor: TensorValue, place: Place, first: int, *, swapped: bool) -> Source:
    begin, end, unpacked = place
    item = BITS[tensor.dtype] // 8
    swap = SWAP.get(tensor.dtype, item) if swapped else 1
    shape, strides = _squeeze(tensor.shape, tensor.strides)
    if 0 in tensor.shape:
        return Span(name, begin, begin)
    skip = (first + tensor.offset) * item
    count = item
    dense = True
    for side, step in zip(reversed(shape), reversed(strides), strict=True):
        dense = dense and step * item == count
        count *= side
    if unpacked >= 0:
        if not dense or skip + count > unpacked:
            refuse("WEIGHTS-16", "holds a view of a storage that is compressed in the zip")
        return Deflated(name, begin, end, skip, count, unpacked, swap)
    last = skip + (sum((side - 1) * step for side, step in zip(shape, strides, strict=True)) + 1) * item
    if begin + last > end:
        refuse("WEIGHTS-36", f"a tensor ends {begin + last - end} bytes behind its storage")
    if dense and swap == 1:
        return Span(name, begin + skip, begin + skip + count)
    return Strided(name, begin + skip, begin + last, item, shape, strides, swap)


def _squeeze(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Leave out sides of one element, whose stride says nothing, and join those that lie as one."""
    kept = list[tuple[int, int]]()
    for side, step in zip(shape, strides, strict=True):
        if side == 1:
            continue
        if kept and kept[-1][1] == side * step:
            kept[-1] = (kept[-1][0] * side, step)
        else:
            kept.append((side, step))
    return tuple(side for side, _ in kept), tuple(step for _, step in kept)
