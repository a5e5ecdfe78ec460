"""What evidence in the ledger comes to, read from its leaves alone by a reader of its own (specs/agreement.md, A14).

Nothing here is production code: leaves are read by cbor2, and what a vote or a header signs is put together again as
specs/agreement.md (A16) and specs/log.md (L2, L6) say. ``verify`` is Ed25519, or what stands for it.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import cbor2

VerifySignature = Callable[[bytes, bytes, bytes], bool]  # public key, message, signature
PREDICATE = "urn:glasslog:predicate:evidence:v1"
NOTARIZE, NULLIFY, FINALIZE = 1, 2, 3
VALIDATOR = 0
STATEMENT = b"\x84\x00"  # how a statement entry begins: four elements, kind 0


@dataclass(frozen=True)
class Accusation:
    """One evidence statement in the ledger, and whether it convicts."""

    index: int  # of its leaf
    by: str
    accused: str
    fault: str
    convicts: bool


@dataclass(frozen=True)
class Members:
    """What the genesis and membership leaves say that evidence is judged by."""

    genesis_hash: bytes
    vote_keys: tuple[tuple[str, bytes], ...]  # of the validators, in order of name: a vote names its place here
    author_keys: dict[str, bytes]


def read_members(leaves: Sequence[bytes]) -> Members:
    """Read who may vote and who may author from the leaves before the first height."""
    voters, authors = list[tuple[str, bytes]](), dict[str, bytes]()
    for leaf in leaves[1:]:
        kind, *fields = cbor2.loads(leaf)
        if kind != 5:
            break
        name, role, _, _, vote, _, _, _, author = fields[1][:9]
        if role == VALIDATOR:
            voters.append((name, vote))
        if author is not None:
            authors[name] = author
    return Members(sha256(leaves[0]).digest(), tuple(sorted(voters)), authors)


def read_accusations(leaves: Sequence[bytes], verify: VerifySignature) -> Iterator[Accusation]:
    """Yield every evidence statement among the leaves with what it comes to."""
    members = read_members(leaves)
    marker = PREDICATE.encode()
    for index, leaf in enumerate(leaves):
        if leaf[:2] != STATEMENT or marker not in leaf:
            continue
        _, by, _, statement = cbor2.loads(leaf)
        if statement["predicateType"] != PREDICATE:
            continue
        predicate = statement["predicate"]
        claim = predicate["accused"], predicate["fault"]
        evidence = base64.b64decode(predicate["evidence"], validate=True)
        yield Accusation(index, by, *claim, convicts(members, evidence, verify) == claim)


def convicts(members: Members, evidence: bytes, verify: VerifySignature) -> tuple[str, str] | None:
    """Who is convicted and of what; None: nobody."""
    domain, fault, epoch, accused, first, second = cbor2.loads(evidence)
    if domain != "glasslog/evidence/v1" or first >= second:
        return None
    if fault == "author-fork":
        is_proved = _is_fork(members, accused, (first, second), verify)
    else:
        votes = [cbor2.loads(vote) for vote in (first, second)]
        is_proved = _is_double(members, fault, epoch, accused, votes, verify)
    return (accused, fault) if is_proved else None


def _is_double(
    members: Members, fault: str, epoch: int, accused: str, votes: list[list[Any]], verify: VerifySignature
) -> bool:
    """Two votes, both truly by the accused, of one view in this network and epoch, that exclude each other."""
    for type_, vote_epoch, view, kind, digest, voter, signature in votes:
        if type_ != 2 or vote_epoch != epoch or epoch != 1 or voter >= len(members.vote_keys):
            return False
        name, key = members.vote_keys[voter]
        signed = cbor2.dumps(["glasslog/vote/v1", members.genesis_hash, vote_epoch, view, kind, digest])
        if name != accused or not verify(key, signed, signature):
            return False
    (_, _, view, kind, digest, _, _), (_, _, other_view, other_kind, other_digest, _, _) = votes
    if view != other_view:
        return False
    if fault == "nullify-and-finalize":
        return {kind, other_kind} == {NULLIFY, FINALIZE}
    wanted = {"double-notarize": NOTARIZE, "double-finalize": FINALIZE}.get(fault)
    return bool(kind == other_kind == wanted and digest != other_digest)


def _is_fork(members: Members, accused: str, headers: tuple[bytes, bytes], verify: VerifySignature) -> bool:
    """Two headers, both truly by the accused, with one number in this network."""
    numbers = set[int]()
    for leaf in headers:
        kind, sign1 = cbor2.loads(leaf)
        protected, unprotected, payload, signature = cbor2.loads(sign1).value
        signed = cbor2.dumps(["Signature1", protected, b"", payload])
        genesis_hash, author, seq, *_ = cbor2.loads(payload)
        key = members.author_keys.get(author)
        if kind != 3 or unprotected or genesis_hash != members.genesis_hash or author != accused or key is None:
            return False
        if not verify(key, signed, signature):
            return False
        numbers.add(seq)
    return len(numbers) == 1
