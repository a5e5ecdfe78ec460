"""Notes, keys, policies, proofs, tiles, bundles and audited copies: what whoever checks the log is handed."""

from __future__ import annotations

from functools import cache, lru_cache
from hashlib import sha256
from random import Random
from unittest import mock

from audit_ledger import MemorySource
from fuzz import specimens
from fuzz.mutators import make_line_mutator, mutate_cbor
from fuzz.target import Target, accepted, fields, texts
from glasslog import codec, merkle, tiles
from glasslog import policy as policies
from glasslog.audit import audit, conflict
from glasslog.bundle import Bundle, Verified, export_tlog_proof, read_policy, verify_bundle, verifying
from glasslog.bundle.sealed import FieldOpening, open_field
from glasslog.checkpoint import Checkpoint, check_line
from glasslog.errors import DecodeError, ProtocolError
from glasslog.identity import VerifierKey
from glasslog.merkle import hash_children
from glasslog.note import Note, verify_note
from glasslog.policy import Bft, Policy
from glasslog.proof import TlogProof
from glasslog.tiles import Edge, HashReader

_cached_line = lru_cache(4_096)(check_line)  # a mutation leaves most lines as they are


# --- notes ----------------------------------------------------------------------------------------


@cache
def _note() -> bytes:
    note = specimens.world().note
    assert note is not None
    return note


@cache
def _policy() -> Policy:
    return specimens.world().policy


@cache
def _bft() -> Bft:
    return _policy().bft()


def run_note(data: bytes) -> None:
    note = Note.parse(data)
    assert note.format() == data, "accepted, and written otherwise"
    verified = verify_note(note, _bft().keys, check=_cached_line)
    assert not verified or note.text == Note.parse(_note()).text, "nobody signed this text"


def run_checkpoint(data: bytes) -> None:
    text = Note.parse(data).text
    assert Checkpoint.parse(text).text == text, "accepted, and written otherwise"


def run_vkey(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    assert VerifierKey.parse(text).format() == text, "accepted, and written otherwise"


def run_policy(data: bytes) -> None:
    policy = Policy.parse(data)
    with accepted():
        assert Policy.parse(policy.format()) == policy, "written, and read otherwise"
    bft = read_policy(data).bft()
    with accepted():
        assert Policy.build(bft.origin, bft.network, bft.members).bft() == bft, "not what these validators' policy says"


def run_tlog_proof(data: bytes) -> None:
    proof = TlogProof.parse(data)
    assert proof.format() == data, "accepted, and written otherwise"
    leaf = merkle.hash_leaf(specimens.world().leaves[8])
    with mock.patch.object(policies, "check_line", _cached_line):
        proof.verify(leaf, _policy(), strict=True)
    assert proof.index == 8, "leaf 8 stands elsewhere too"


# --- the tree -------------------------------------------------------------------------------------


def run_tile_path(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    path = tiles.parse_tile_path(text)
    again = (
        tiles.entries_path(path.index, path.width)
        if path.level is None
        else tiles.tile_path(path.level, path.index, path.width)
    )
    assert again == text, "a second spelling"


def run_edge(data: bytes) -> None:
    edge = Edge.decode(data)
    with accepted():
        assert edge.encode() == data, "accepted, and written otherwise"
        if edge.size < 256:
            assert edge.root() == merkle.root(data[8:]), "another root than that of its leaves"
        more, _ = edge.extend(b"\x01" * 64)
        assert Edge.decode(more.encode()) == more


def run_merkle(data: bytes) -> None:
    """Both kinds of proof against the algorithms of RFC 9162, written down as they stand there."""
    first, second, root1, root2, path = fields(data, int, int, bytes, bytes, list)
    assert isinstance(first, int)
    assert isinstance(second, int)
    assert isinstance(root1, bytes)
    assert isinstance(root2, bytes)
    proof = texts(path)
    expected = _rfc_inclusion(first, second, root1, proof, root2), _rfc_consistency(first, second, proof, root1, root2)
    found = _holds(first, second, root1, proof, root2), _extends(first, second, proof, root1, root2)
    if all(len(each) == 32 for each in (root1, root2, *proof)):
        assert found == expected, "not what RFC 9162 says"
    else:
        assert not found[0]
    if not any(found):
        raise DecodeError("FUZZ-02", "neither proof holds")


def _holds(index: int, size: int, leaf: bytes, proof: list[bytes], root: bytes) -> bool:
    try:
        merkle.verify_inclusion(index, size, leaf, proof, root)
    except ProtocolError:
        return False
    return True


def _extends(first: int, second: int, proof: list[bytes], root1: bytes, root2: bytes) -> bool:
    try:
        merkle.verify_consistency(first, second, proof, root1, root2)
    except ProtocolError:
        return False
    return True


def _rfc_inclusion(index: int, size: int, leaf: bytes, proof: list[bytes], root: bytes) -> bool:
    """RFC 9162 2.1.3.2."""
    if not 0 <= index < size <= merkle.SIZE_MAX:
        return False
    fn, sn, r = index, size - 1, leaf
    for p in proof:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            r = hash_children(p, r)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = hash_children(r, p)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and r == root


def _rfc_consistency(first: int, second: int, proof: list[bytes], root1: bytes, root2: bytes) -> bool:
    """RFC 9162 2.1.4.2, and what it leaves to the caller: equal sizes, and the empty tree."""
    if not 0 <= first <= second <= merkle.SIZE_MAX:
        return False
    if first == 0:
        return second == 0 and not proof and root1 == root2 == merkle.EMPTY_ROOT
    if first == second:
        return not proof and root1 == root2
    if not proof:
        return False
    path = [root1, *proof] if first & (first - 1) == 0 else proof
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for c in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = hash_children(c, fr), hash_children(c, sr)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = hash_children(sr, c)
        fn, sn = fn >> 1, sn >> 1
    return (fr, sr, sn) == (root1, root2, 0)


def _reader(hashes: bytes) -> HashReader:
    """Of at most 256 leaves: one tile holds them all."""
    return HashReader(len(hashes) // 32, lambda _level, _index, width: hashes[: width * 32])


def _merkle_seeds() -> list[bytes]:
    seeds: list[bytes] = []
    leaves = [merkle.hash_leaf(bytes((number,))) for number in range(70)]
    for size in (1, 2, 3, 7, 8, 13, 70):
        whole = b"".join(leaves[:size])
        reader = _reader(whole)
        for at in sorted({0, size // 2, size - 1}):
            inclusion: list[codec.Value] = [*reader.inclusion_proof(at)]
            seeds.append(codec.encode([at, size, leaves[at], reader.root(), inclusion]))
            consistency: list[codec.Value] = [*reader.consistency_proof(at + 1)]
            root1 = merkle.root(whole[: 32 * (at + 1)])
            seeds.append(codec.encode([at + 1, size, root1, reader.root(), consistency]))
    return seeds


# --- bundles --------------------------------------------------------------------------------------


def run_bundle(data: bytes) -> None:
    bundle = Bundle.decode(data)
    with accepted():
        assert bundle.encode() == data, "accepted, and encoded otherwise"
        proof = (
            TlogProof.parse(export_tlog_proof(data))
            if b"\n\n" in bundle.checkpoint and bundle.index >> 63 == 0
            else None
        )
        assert proof is None or (proof.index, proof.checkpoint) == (bundle.index, bundle.checkpoint)


@lru_cache(256)
def _without_checkpoint(data: bytes) -> bytes:
    value = codec.decode(data, size_max=1 << 20)
    assert isinstance(value, list)
    return codec.encode(value[:-1])


_check_checkpoint = lru_cache(512)(verifying._check_checkpoint)


def run_verify(data: bytes) -> None:
    """What verifies is a specimen: with any bytes changed, but for lines that its checkpoint can do without."""
    bundle = Bundle.decode(data)
    with (
        mock.patch.object(policies, "check_line", _cached_line),
        mock.patch.object(verifying, "_check_checkpoint", _check_checkpoint),
    ):
        verified = verify_bundle(data, _policy())
    assert Note.parse(bundle.checkpoint).text == Note.parse(_note()).text, "nobody signed this checkpoint"
    known = {_without_checkpoint(each) for each in specimens.bundles()}
    assert codec.encode(_parts(data)[:-1]) in known, "a forged bundle verifies"
    assert Verified.sentence(verified, "noon")


def _parts(data: bytes) -> list[codec.Value]:
    value = codec.decode(data, size_max=1 << 20)
    assert isinstance(value, list)
    return value


def run_opening(data: bytes) -> None:
    count, root, place, field, path = fields(data, int, bytes, int, bytes, bytes)
    assert isinstance(count, int)
    assert isinstance(root, bytes)
    assert isinstance(place, int)
    assert isinstance(field, bytes)
    assert isinstance(path, bytes)
    if count < 0 or place < 0 or len(root) != 32 or len(path) % 32:
        return  # the bundle's form admits none of these
    _, (name, value) = open_field(FieldOpening(specimens.SALT, count, root, place, field, path))
    assert codec.encode([field[3:35], name, value]) == field, "read, and written otherwise"


# --- conflicts ------------------------------------------------------------------------------------


@cache
def _two_notes() -> tuple[bytes, bytes]:
    """The published note, and one of the same size with another root under all but one of the same keys."""
    good = Checkpoint.parse(Note.parse(_note()).text)
    other = Checkpoint(good.origin, good.size, specimens.digest_of("other root"))
    return _note(), specimens.world().sign_note(other, (0, 1, 2))


def run_conflict(data: bytes) -> None:
    """Whoever is named stands under two roots: the specimens', for nobody has signed any other text."""
    smaller, larger, root, proof = fields(data, bytes, bytes, bytes, list)
    assert isinstance(smaller, bytes)
    assert isinstance(larger, bytes)
    assert isinstance(root, bytes)
    with mock.patch.object(conflict, "check_line", _cached_line):
        culprits = conflict.convict(conflict.Fork(smaller, larger, root, tuple(texts(proof))), _bft())
    signed = {Note.parse(note).text for note in _two_notes()}
    assert not culprits or {Note.parse(smaller).text, Note.parse(larger).text} == signed, (
        "accused of what nobody signed"
    )
    assert {each.name for each in culprits} <= {member.name for member in _bft().members[:3]}, "an honest key is named"


def _conflict_seeds() -> list[bytes]:
    one, other = _two_notes()
    roots = [Checkpoint.parse(Note.parse(note).text).root for note in (one, other)]
    return [codec.encode([one, other, roots[1], []]), codec.encode([other, one, roots[0], []])]


# --- audits ---------------------------------------------------------------------------------------


def run_audit(data: bytes) -> None:
    """Patches ``[what, which, at, xor]`` on a copy of a good replica: no audit raises, and none of a changed leaf
    or tile ends intact."""
    patches = texts(codec.decode(data, size_max=4_096))[:8]
    with accepted():
        source = specimens.world().source()
        good = list(source.leaves), dict(source.tiles)
        for patch in patches:
            _patch(source, patch)
        with mock.patch.object(policies, "check_line", _cached_line):
            report = audit(source, _policy())
        assert report.to_value()["verdict"] in ("intact", "broken", "unable")
        if (source.leaves, source.tiles) != good:
            assert report.verdict.value != "intact", "a changed replica is called intact"


def _patch(source: MemorySource, patch: bytes) -> None:
    if len(patch) < 5:
        return
    what, which, at, bits = patch[0] % 4, patch[1], int.from_bytes(patch[2:4], "big"), patch[4]
    match what:
        case 0:
            place = which % len(source.leaves)
            source.leaves[place] = _flip(source.leaves[place], at, bits, patch[5:])
        case 1:
            key = sorted(source.tiles)[which % len(source.tiles)]
            source.tiles[key] = _flip(source.tiles[key], at, bits, b"")
        case 2:
            source.note = None if bits == 0 else _flip(source.note or b"", at, bits, patch[5:])
        case _:
            if which & 1 and len(source.leaves) > 1:
                del source.leaves[at % len(source.leaves)]
            else:
                source.spans = [1 + bits % 9] * len(source.leaves)


def _flip(data: bytes, at: int, bits: int, more: bytes) -> bytes:
    if not data:
        return more
    at %= len(data)
    return data[:at] + bytes((data[at] ^ bits,)) + more + data[at + 1 + len(more) :]


def _audit_seeds() -> list[bytes]:
    patches = (b"\x00\x08\x00\x10\x01", b"\x01\x00\x00\x21\x80", b"\x02\x00\x00\x40\x02", b"\x03\x01\x00\x09\x00")
    return [codec.encode([patch]) for patch in patches] + [codec.encode([])]


def _opening_seeds() -> list[bytes]:
    salted: list[bytes] = [codec.encode([specimens.SALT, f"field {number}", number]) for number in range(3)]
    hashes = merkle.hash_leaves(salted)
    reader = _reader(hashes)
    return [
        codec.encode([3, merkle.root(hashes), place, salted[place], b"".join(reader.inclusion_proof(place))])
        for place in range(3)
    ]


def _small_policy() -> bytes:
    """Fits a small input: logs, witnesses and nested groups of Ed25519 keys alone."""
    keys = [VerifierKey.build("log.example/x", 1, sha256(bytes((number,))).digest()) for number in range(2)]
    witnesses = [VerifierKey.build(f"w{number}", 4, sha256(bytes((9, number))).digest()) for number in range(3)]
    lines = ["# a comment", *[f"log {key.format()}" for key in keys]]
    lines += [f"witness w{number} {key.format()} https://w.example/" for number, key in enumerate(witnesses)]
    return "\n".join([*lines, "group two 2 w0 w1", "group all all two w2", "quorum all", ""]).encode()


def _change_lines(data: bytes, rng: Random) -> bytes:
    return _lines(data, rng)


_lines = make_line_mutator(("log", "witness", "group", "quorum", "none", "any", "all", "bft", "extra", "index", "—"))

TARGETS = (
    Target("note", run_note, lambda: [_note()], mutators=(_change_lines,), size_max=20_000),
    Target(
        "checkpoint",
        run_checkpoint,
        lambda: [b"a\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n\xe2\x80\x94 a AAAAAAA=\n", _note()[:400]],
        mutators=(_change_lines,),
        size_max=1_024,
    ),
    Target(
        "vkey",
        run_vkey,
        lambda: [key.format().encode() for key in _bft().keys[:2]],
        mutators=(_change_lines,),
        size_max=512,
    ),
    Target(
        "policy", run_policy, lambda: [_small_policy(), _policy().format()], mutators=(_change_lines,), size_max=20_000
    ),
    Target(
        "tlog-proof",
        run_tlog_proof,
        lambda: [export_tlog_proof(specimens.bundles()[0])],
        mutators=(_change_lines,),
        size_max=20_000,
    ),
    Target(
        "tile-path",
        run_tile_path,
        lambda: [b"tile/0/x001/x234/067.p/8", b"tile/entries/000", b"tile/63/999"],
        tokens=(b"x000/", b".p/", b"tile/", b"entries/", b"x999/" * 6, b"\xd9\xa3"),
        size_max=64,
    ),
    Target(
        "edge",
        run_edge,
        lambda: [Edge.empty().extend(b"\x07" * 32 * size)[0].encode() for size in (0, 1, 5, 257, 700)],
        size_max=8_192,
    ),
    Target("merkle", run_merkle, _merkle_seeds, mutators=(mutate_cbor,), size_max=2_048),
    Target("bundle", run_bundle, specimens.bundles, mutators=(mutate_cbor,), size_max=20_000),
    Target("verify", run_verify, specimens.bundles, mutators=(mutate_cbor,), size_max=20_000),
    Target("opening", run_opening, _opening_seeds, mutators=(mutate_cbor,)),
    Target("conflict", run_conflict, _conflict_seeds, mutators=(mutate_cbor,), size_max=40_000, weight=0.5),
    Target("audit", run_audit, _audit_seeds, mutators=(mutate_cbor,), size_max=128, weight=0.3),
)
