"""Proofs about records, and data sets that somebody else put together: JSON, CSV, archives, Croissant, indices."""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
from functools import lru_cache
from pathlib import Path
from random import Random

from fuzz.mutators import mutate_cbor, mutate_json
from fuzz.target import Target, accepted
from glasslog.errors import ProofError
from glasslog.records import (
    Exclusion,
    Inclusion,
    RecordProof,
    decode_proof,
    encode_proof,
    fold,
    hash_entry,
    record_digest,
    records_root,
    verify_proof,
    walk,
)
from glasslog_lab.datasets.canonical_json import JsonError, canonicalize
from glasslog_lab.datasets.croissant import read_croissant
from glasslog_lab.datasets.index import Index, IndexWriter
from glasslog_lab.datasets.rows import read_csv
from glasslog_lab.datasets.sorting import KeySorter
from glasslog_lab.datasets.sources import Expanded
from glasslog_lab.datasets.tar import read_samples
from glasslog_lab.errors import ArtifactError

_DIGESTS = sorted(record_digest("bytes", bytes([number])) for number in range(9))
_ABSENT = bytes(32)
_LEAVES = [(digest, hash_entry(digest, 1)) for digest in _DIGESTS]
_ROOT = records_root(None, 9, 9, fold(_LEAVES))


def _prove(digest: bytes) -> Inclusion | Exclusion:
    place, branches = walk(_LEAVES, digest)
    key = _LEAVES[place][0]
    if key == digest:
        return Inclusion(None, 9, 9, 1, tuple(branches))
    return Exclusion(None, 9, 9, (key, 1), tuple(branches))


def run_proof(data: bytes) -> None:
    proof = decode_proof(data)
    with accepted():
        assert encode_proof(proof) == data, "accepted, and encoded otherwise"
    present, absent = (_shows(proof, digest) for digest in (_DIGESTS[0], _ABSENT))
    assert isinstance(proof, Inclusion) or not present, "denied, or placed, under a root that has it"
    assert isinstance(proof, Exclusion) or not absent, "shown under a root that has it not"
    if not (present or absent):
        raise ProofError("DATA-03", "of neither")
    assert proof == _prove(_DIGESTS[0] if present else _ABSENT), "another proof of the same"


def _shows(proof: RecordProof, digest: bytes) -> bool:
    try:
        verify_proof(proof, digest, _ROOT)
    except ProofError:
        return False
    return True


def run_json(data: bytes) -> None:
    once = canonicalize(data)
    with accepted():
        assert canonicalize(once) == once, "not canonical"


def run_csv(data: bytes) -> None:
    for digests in read_csv("x", Expanded(iter([data])), ",", None):
        assert all(len(digest) == 32 for digest in digests)


def run_tar(data: bytes) -> None:
    for digests in read_samples("x", Expanded(iter([data]))):
        assert len(digests) == 1


def run_croissant(data: bytes) -> None:
    found = read_croissant("c.json", data)
    with accepted():
        paths = [one.path for one in found.read.files if one.path is not None]
        assert not any(path.startswith("/") or ".." in path.split("/") for path in paths)
        assert len(found.check({})) == len(found.read.files) + len(found.read.sets)


def run_index(data: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        with Index(Path(file.name)) as index:
            proof = index.prove(_DIGESTS[0], None)
            with accepted():
                verify_proof(proof, _DIGESTS[0], index.roots.records)
                assert index.roots.records != _ROOT or isinstance(proof, Inclusion), "denied under the true root"


@lru_cache(1)
def _index() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "index")
        sorter = KeySorter(None)
        with IndexWriter(path) as writer:
            writer.add(_DIGESTS)
            sorter.add(_DIGESTS)
            writer.finish(None, sorter.entries())
        return path.read_bytes()


def _tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in ("a/1.txt", "a/1.cls", "é" * 70 + ".x"):
            info = tarfile.TarInfo(name)
            info.size = 3
            archive.addfile(info, io.BytesIO(b"abc"))
    return stream.getvalue()


def _croissant() -> bytes:
    files = [
        {"@type": "cr:FileObject", "@id": "a", "contentUrl": "a.csv", "sha256": "ab" * 32, "containedIn": {"@id": "z"}}
    ]
    sets = [{"@type": "cr:FileSet", "@id": "s", "includes": "*.csv", "excludes": ["b*"]}]
    return json.dumps({"@type": "sc:Dataset", "name": "n", "distribution": [*files, *sets]}).encode()


def _resum(data: bytes, rng: Random) -> bytes:
    """Change a header of an archive and make its sum right again."""
    if len(data) < 512:
        return data
    at = 512 * rng.randrange(len(data) // 512)
    header = bytearray(data[at : at + 512])
    header[rng.randrange(148)] = rng.randrange(256)
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    return data[:at] + bytes(header) + data[at + 512 :]


TARGETS = (
    Target(
        "record-proof",
        run_proof,
        lambda: [encode_proof(_prove(digest)) for digest in (_DIGESTS[0], _ABSENT)],
        mutators=(mutate_cbor,),
        size_max=2_048,
    ),
    Target(
        "record-json",
        run_json,
        lambda: [b'{"b":[1.0,-0,1e21,9007199254740993],"a":"\\ud83d\\ude00"}', b"[[{}]]"],
        allowed=(JsonError,),
        tokens=(b"1e400", b"\\ud800", b"NaN"),
        mutators=(mutate_json,),
        size_max=1_024,
    ),
    Target(
        "record-csv",
        run_csv,
        lambda: [b'a,b\n1,"2\n3"\n', b"\xef\xbb\xbfa\r\n1\r\n"],
        allowed=(ArtifactError,),
        tokens=(b'"', b",", b"\n", b"\x00", b"\r"),
        size_max=512,
    ),
    Target(
        "record-tar",
        run_tar,
        lambda: [_tar()],
        allowed=(ArtifactError,),
        tokens=(b"ustar\x0000", b"path=", b"size="),
        mutators=(_resum,),
        size_max=1 << 14,
    ),
    Target(
        "dataset-croissant",
        run_croissant,
        lambda: [_croissant()],
        allowed=(ArtifactError,),
        tokens=(b'"containedIn"', b"../", b"file:", b"https://"),
        mutators=(mutate_json,),
        size_max=2_048,
    ),
    Target("records-index", run_index, lambda: [_index()], allowed=(ArtifactError,), size_max=2_048),
)
