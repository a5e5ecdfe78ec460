"""Valid specimens of everything, made by the encoders that nodes use: where fuzzing starts from."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from hashlib import sha256

from audit_ledger import LAB, World, make_keys, make_sealed_entry, make_statement, make_world
from glasslog import codec
from glasslog.agreement import messages as m
from glasslog.agreement.evidence import Evidence, Fault, of_headers, of_votes
from glasslog.block import Block, Ref
from glasslog.bundle import (
    FieldOpening,
    Opening,
    StatementOpening,
    compute_commitment,
    field_root,
    make_bundle,
    statement_root,
)
from glasslog.entry import number_entry
from glasslog.ledger import Tip
from glasslog.merkle import hash_leaf
from glasslog.predicates.base import Subject
from glasslog.predicates.evidence import evidence_statement
from glasslog.predicates.model import Model
from glasslog.predicates.values import Commitment, File
from glasslog.statement import STATEMENT_TYPE, decode_statement, encode_statement, to_json
from glasslog.tensors import CONTENT_ROOT, Tensor, content_root
from simulation.suite import make_block as make_cheap_block
from simulation.suite import make_network, public_key, sign

SALT = b"\x05" * 32
CHEAP = make_network(4)


def digest_of(*words: object) -> bytes:
    return sha256(repr(words).encode()).digest()


@cache
def world() -> World:
    made = make_world(heights=2, published=False)
    sealed_with(made, None)
    made.publish()
    return made


def sealed_with(made: World, opening: Opening | None) -> Opening:
    """Add a height whose block seals a field, and return what opens it."""
    field = codec.encode([SALT, "accuracy", 0.5])
    opening = opening or FieldOpening(SALT, 1, hash_leaf(field), 0, field, b"")
    content = field_root(1, hash_leaf(field))
    number = made.state.tip(LAB, made.membership.genesis_hash).next_entry
    commitment = compute_commitment(made.membership.genesis_hash, LAB, number, SALT, content)
    other = compute_commitment(made.membership.genesis_hash, LAB, number + 1, SALT, statement_root(make_statement(77)))
    entries = [make_sealed_entry(made, number, commitment), make_sealed_entry(made, number + 1, other)]
    entries.append(signed_statements()[0])
    made.add_height([made.make_block(entries)])
    return opening


@cache
def bundles() -> tuple[bytes, ...]:
    """A statement's bundle, a sealed entry's with each kind of opening, and a third party's."""
    made = world()
    first = next(index for index, leaf in enumerate(made.leaves) if leaf[:2] == b"\x84\x01")
    field = codec.encode([SALT, "accuracy", 0.5])
    openings: list[tuple[int, Opening | None]] = [
        (8, None),
        (first, None),
        (first, FieldOpening(SALT, 1, hash_leaf(field), 0, field, b"")),
        (first + 1, StatementOpening(SALT, make_statement(77))),
        (first + 2, None),
    ]
    return tuple(make_bundle(made.reader(), index, opening) for index, opening in openings)


@cache
def statements() -> tuple[bytes, ...]:
    tensors = [Tensor(f"layer.{number}", "F32", (2, 3), digest_of(number)) for number in range(2)]
    root = {CONTENT_ROOT: content_root(tensors)}
    model = Model(
        name="model",
        format="safetensors",
        content_root=Commitment(digest=root),
        tensors=2,
        parameters=12,
        files=(File(name="a.safetensors", bytes=48, digest={"sha256": digest_of("a")}),),
    )
    weights = model.statement(Subject("model", root), Subject("a.safetensors", {"sha256": digest_of("a")}))
    predicate: codec.Map = {
        "a": [1, -1, 0.5, 1e300, True, None, {"digest": {"x": b"\xab", "y": ""}}],
        "b": {"c": {"d": [[["deep"]]]}},
        "n": codec.INT_MAX,
        "m": codec.INT_MIN,
    }
    rich: codec.Map = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": "a", "digest": {"sha256": b"\x00\xff", "gitCommit": "x"}, "uri": "u:é"}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": predicate,
    }
    accused = evidence_statement(evidences()[0].encode(), fault=evidences()[0].fault.value, accused="v1")
    return (make_statement(1), encode_statement(weights), encode_statement(rich), encode_statement(accused))


@cache
def statements_json() -> tuple[bytes, ...]:
    return tuple(to_json(decode_statement(data)).encode() for data in statements())


@cache
def signed_statements() -> tuple[bytes, ...]:
    heads: Sequence[codec.Map] = ({1: -7, 15: {1: "issuer"}}, {1: "ES256", "x": b"y"})
    return tuple(
        codec.encode(codec.Tagged(18, [codec.encode(head), {}, payload, b"\x01" * 64]))
        for head, payload in zip(heads, (b"payload", None), strict=True)
    )


@cache
def leaves() -> tuple[bytes, ...]:
    """One leaf of each kind, and what statements of several forms look like as entries."""
    found: dict[tuple[int, int], bytes] = {}
    for leaf in world().leaves:
        found.setdefault((leaf[0] >> 5, leaf[1]), leaf)
    return (*found.values(), *[number_entry("lab", number, data) for number, data in enumerate(statements())])


@cache
def blocks() -> tuple[Block, ...]:
    made = world()
    tip = Tip(0, made.membership.genesis_hash, 0)
    entries = [number_entry(LAB, number, make_statement(number)) for number in range(3)]
    mixed = [number_entry(LAB, 0, statements()[2]), make_sealed_entry(made, 1, SALT), signed_statements()[0]]
    return made.make_block(entries, tip=tip), made.make_block(mixed, tip=tip)


def author_key(name: str) -> bytes | None:
    return make_keys(name).author.public if name == LAB else None


# --- agreement ------------------------------------------------------------------------------------


def make_vote(kind: m.Kind, digest: bytes, *, view: int, voter: int) -> m.Vote:
    message = m.vote_bytes(CHEAP.membership.genesis_hash, 1, view, kind, digest)
    return m.Vote(1, view, kind, digest, voter, sign(public_key(f"v{voter}", "vote"), message))


def make_certificate(kind: m.Kind, digest: bytes, *, view: int) -> m.Certificate:
    votes = [make_vote(kind, digest, view=view, voter=voter) for voter in range(3)]
    return m.Certificate(1, view, kind, digest, (0, 1, 2), tuple(vote.signature for vote in votes))


@cache
def evidences() -> tuple[Evidence, ...]:
    """One of each fault, each of another member at another place, so that no two can be put together to a third."""
    one, two = digest_of("one"), digest_of("two")
    finalize, nullify, notarize = m.Kind.FINALIZE, m.Kind.NULLIFY, m.Kind.NOTARIZE
    genesis = CHEAP.membership.genesis_hash
    forks = [make_cheap_block(genesis, "lab", 1, genesis, 0, 2, salt=salt).leaf for salt in (1, 2)]
    return (
        of_votes(Fault.DOUBLE_NOTARIZE, "v1", *[make_vote(notarize, each, view=3, voter=1) for each in (one, two)]),
        of_votes(Fault.DOUBLE_FINALIZE, "v2", *[make_vote(finalize, each, view=4, voter=2) for each in (one, two)]),
        of_votes(
            Fault.NULLIFY_AND_FINALIZE,
            "v3",
            make_vote(nullify, m.NO_DIGEST, view=5, voter=3),
            make_vote(finalize, one, view=5, voter=3),
        ),
        of_headers(1, "lab", *forks),
    )


@cache
def cheap_block() -> Block:
    genesis = CHEAP.membership.genesis_hash
    return make_cheap_block(genesis, "lab", 1, genesis, 0, 2)


@cache
def messages() -> tuple[m.Message, ...]:
    """One of each type, signed in the cheap suite's network where it is signed."""
    block, digest = cheap_block(), digest_of("digest")
    proposal = m.Proposal(1, 1, 1, 0, CHEAP.membership.genesis_hash, 10_000_000, (block.ref,), 9, digest)
    final = make_certificate(m.Kind.FINALIZE, digest, view=2)
    null = make_certificate(m.Kind.NULLIFY, m.NO_DIGEST, view=1)
    signed = m.vote_bytes(CHEAP.membership.genesis_hash, 1, 1, m.Kind.NOTARIZE, proposal.digest)
    return (
        m.SignedProposal(proposal, sign(public_key("v1", "vote"), signed)),
        make_vote(m.Kind.NOTARIZE, proposal.digest, view=1, voter=2),
        make_vote(m.Kind.NULLIFY, m.NO_DIGEST, view=1, voter=3),
        null,
        final,
        m.Have((block.ref, Ref("v1", 1, digest))),
        m.BlockBody(block.leaf, block.entries),
        m.BlockRequest("lab", 1, 3, digest),
        m.CertificateRequest(1, (1, 2, 300)),
        m.RunRequest(1),
        m.FinalizedRun((proposal,), make_certificate(m.Kind.FINALIZE, proposal.digest, view=1)),
        m.Cosignature(9, digest, 1_800_000_000, b"\x01" * 64, b"\x02" * 64, b"\x03" * 2420, 2),
        m.Status(1, 2, 0, 0, 7, 0),
        m.RecoveryRequest(b"n" * 16, None),
        m.RecoveryReply(b"n" * 16, null, final, 7, block.leaf),
        m.Published(b"note"),
        m.Announcement((block.leaf,)),
    )


@cache
def message_bytes() -> tuple[bytes, ...]:
    return tuple(m.encode_message(message) for message in messages())
