"""What is compared or proved from: weights, a list of their tensors, or a statement about them (K11, K12)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from glasslog.errors import ProtocolError
from glasslog.predicates.model import Model
from glasslog.statement import JSON_BYTES_MAX, decode_statement, from_json
from glasslog.tensors import CONTENT_ROOT, LIST_BYTES_MAX, LIST_LABEL, Tensor, content_root, decode_list
from glasslog_lab.weights.cache import Cache
from glasslog_lab.weights.files import Progress
from glasslog_lab.weights.index import is_index
from glasslog_lab.weights.measuring import measure
from glasslog_lab.weights.refusals import quote, refusal, refuse

_HEAD_BYTES = 64


@dataclass(frozen=True)
class Side:
    """A model as far as it is known: its root, and its tensors sorted by name unless only a statement was given."""

    name: str
    root: bytes
    tensors: tuple[Tensor, ...] | None
    count: int


def read_side(
    path: Path, *, main: str | None = None, follow: bool = False, cache: Cache | None, on_read: Progress
) -> Side:
    """Return what ``path`` says of a model: weights are read, a list of tensors or a statement believed.

    Raises:
        ArtifactError: WEIGHTS-07 it is none of these; as ``measure``; as the readers of lists and statements.
    """
    suffix = path.suffix.lower()
    if path.is_file() and suffix in {".json", ".cbor"} and not is_index(path.name):
        return _read_document(path)
    measured = measure(path, digests={"tensors"}, main=main, follow=follow, cache=cache, on_read=on_read)
    if measured.content_root is None:
        refuse("WEIGHTS-07", f"{quote(str(path))} holds no tensors of a model")
    return Side(str(path), measured.content_root, measured.tensors, len(measured.tensors))


def _read_document(path: Path) -> Side:
    data = read_small(path, max(LIST_BYTES_MAX, JSON_BYTES_MAX))
    try:
        if LIST_LABEL.encode() in data[:_HEAD_BYTES]:
            tensors = decode_list(data)
            return Side(str(path), content_root(tensors), tuple(tensors), len(tensors))
        model = Model.read(from_json(data) if path.suffix.lower() == ".json" else decode_statement(data))
    except ProtocolError as error:
        fact = f"{quote(str(path))} is neither a tensor list nor a statement about a model: {error}"
        raise refusal("WEIGHTS-07", fact) from error
    root = None if model.content_root is None else model.content_root.digest.get(CONTENT_ROOT)
    if not isinstance(root, bytes):
        refuse("WEIGHTS-07", f"the model of {quote(str(path))} has no content root")
    return Side(str(path), root, None, model.tensors)


def read_root(text: str | None, statement: Path | None) -> bytes:
    """Return the content root that hexadecimal digits or a statement name; one of them is given.

    Raises:
        ArtifactError: WEIGHTS-09 neither or both, or not 32 bytes; WEIGHTS-07 a statement that has none.
    """
    if (text is None) == (statement is None):
        refuse("WEIGHTS-09", "either a root or the statement that has it is needed")
    if statement is not None:
        return _read_document(statement).root
    try:
        root = bytes.fromhex(text or "")
    except ValueError:
        root = b""
    if len(root) != 32:
        refuse("WEIGHTS-09", f"{quote(text)} is no content root")
    return root


def read_small(path: Path, most: int) -> bytes:
    """Return a file's bytes, at most ``most``.

    Raises:
        ArtifactError: FILE-01 it cannot be read, WEIGHTS-07 it is larger.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(most + 1)
    except OSError as error:
        raise refusal("FILE-01", f"{quote(str(path))} cannot be read: {error.strerror}") from error
    if len(data) > most:
        refuse("WEIGHTS-07", f"{quote(str(path))} has more than {most} bytes")
    return data


def write_whole(path: Path, data: bytes) -> None:
    """Write a file.

    Raises:
        ArtifactError: WEIGHTS-08.
    """
    try:
        path.write_bytes(data)
    except OSError as error:
        raise refusal("WEIGHTS-08", f"{quote(str(path))} cannot be written: {error.strerror}") from error
