"""COSE receipts (RFC 9942): one validator's signature over a root, with the path from an entry to it.

A receipt is one validator's word, never a quorum's: ``count_signers`` counts distinct validators by keys that the
caller holds already (specs/receipts.md, R5). The bare root is all that the detached payload holds, so the protected
header carries the checkpoint too, and a receipt whose checkpoint says another size or root is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from glasslog import codec, merkle
from glasslog.checkpoint import Checkpoint
from glasslog.codec import Map, Tagged, Value
from glasslog.cose import SIGNATURE_BYTES, TAG, signature_structure
from glasslog.errors import DecodeError, ProofError, ProtocolError, SignatureError
from glasslog.merkle import HASH_BYTES, SIZE_MAX
from glasslog.proof import PATH_HASHES_MAX

if TYPE_CHECKING:
    from glasslog.receipt_key import ReceiptKey, ReceiptSigner

RECEIPT_BYTES_MAX = 8_192
ISSUER_BYTES_MAX = 255
ALG, KID, CWT_CLAIMS, VDS, VDP = 1, 4, 15, 395, 396
ISS, SUB = 1, 2
CHECKPOINT_LABEL = "tlog-checkpoint"
RFC9162_SHA256 = 1
INCLUSION, CONSISTENCY = -1, -2
_MEMBERS = {ALG, KID, CWT_CLAIMS, VDS, CHECKPOINT_LABEL}


@dataclass(frozen=True, slots=True)
class Receipt:
    """One receipt, taken apart; ``parse`` checked its form and nothing of what it claims.

    ``numbers`` is (tree size, leaf index) where ``kind`` is ``INCLUSION``, (older size, newer size) where it is
    ``CONSISTENCY``. ``checkpoint`` is the signed root's. ``signature`` covers ``protected`` and that root.
    """

    protected: bytes
    algorithm: int
    kid: bytes
    issuer: str
    checkpoint: Checkpoint
    kind: int
    numbers: tuple[int, int]
    path: tuple[bytes, ...]
    signature: bytes

    def encode(self) -> bytes:
        """Return the receipt's bytes: a tagged COSE_Sign1 with a detached payload (RFC 9942 section 5)."""
        first, second = self.numbers
        proof = codec.encode([first, second, list[Value](self.path)])
        unprotected: Map = {VDP: {self.kind: [proof]}}
        return codec.encode(Tagged(TAG, [self.protected, unprotected, None, self.signature]))

    @classmethod
    def parse(cls, data: bytes) -> Receipt:
        """Return the receipt in these bytes, by rules R1 and R2.

        Raises ``DecodeError``: ``CBOR-nn`` not canonical, ``RECEIPT-01`` not a receipt's COSE_Sign1, ``RECEIPT-02``
        its protected header, ``RECEIPT-03`` its proof, ``CHECKPOINT-nn`` its checkpoint.
        """
        value = codec.decode(data, size_max=RECEIPT_BYTES_MAX, tags=(TAG,))
        if not isinstance(value, Tagged) or not isinstance(value.value, list) or len(value.value) != 4:
            raise DecodeError("RECEIPT-01", "a receipt is tag 18 on an array of four")
        protected, unprotected, payload, signature = value.value
        if not isinstance(protected, bytes) or payload is not None:
            raise DecodeError("RECEIPT-01", "a receipt has a protected header and a detached payload")
        if not isinstance(signature, bytes) or len(signature) != SIGNATURE_BYTES:
            raise DecodeError("RECEIPT-01", f"a receipt's signature has {SIGNATURE_BYTES} bytes")
        algorithm, kid, issuer, checkpoint = _read_protected(protected)
        kind, numbers, path = _read_proof(unprotected)
        return cls(protected, algorithm, kid, issuer, checkpoint, kind, numbers, path, signature)

    def verify_inclusion(self, entry: bytes, key: ReceiptKey) -> None:
        """Check that ``key`` signed a root under which ``entry`` is the leaf that the receipt says (R3).

        Raises:
            ProofError: PROOF-01 to PROOF-03, or RECEIPT-04, the tree is not the signed checkpoint's.
            SignatureError: RECEIPT-05, another key, or the signature does not hold.
        """
        size, index = self.numbers
        self._check_kind(INCLUSION, size)
        root = self.checkpoint.root
        merkle.verify_inclusion(index, size, merkle.hash_leaf(entry), self.path, root)
        self._check_signature(key)

    def verify_consistency(self, older: Checkpoint, key: ReceiptKey) -> None:
        """Check that ``key`` signed a checkpoint of which ``older`` is a prefix (R3). Raises as inclusion does."""
        size1, size2 = self.numbers
        self._check_kind(CONSISTENCY, size2)
        if older.origin != self.checkpoint.origin or older.size != size1:
            raise ProofError("RECEIPT-04", "the receipt starts at another checkpoint than the one to be extended")
        merkle.verify_consistency(size1, size2, self.path, older.root, self.checkpoint.root)
        self._check_signature(key)

    def _check_kind(self, kind: int, size: int) -> None:
        if self.kind != kind:
            raise ProofError("RECEIPT-04", "the receipt proves inclusion where consistency is asked, or the reverse")
        if size != self.checkpoint.size:
            fact = f"the proof is of a tree of {size} leaves, the signed checkpoint of {self.checkpoint.size}"
            raise ProofError("RECEIPT-04", fact)

    def _check_signature(self, key: ReceiptKey) -> None:
        message = signature_structure(self.protected, self.checkpoint.root)
        if (self.kid, self.algorithm) != (key.kid, key.algorithm) or not key.verify(message, self.signature):
            raise SignatureError("RECEIPT-05", f"the receipt of {self.issuer} is not signed by the key given")


def _read_protected(data: bytes) -> tuple[int, bytes, str, Checkpoint]:
    headers = codec.decode(data, size_max=RECEIPT_BYTES_MAX)
    if not isinstance(headers, dict) or set(headers) != _MEMBERS:
        raise DecodeError("RECEIPT-02", "not the protected header of a receipt: other labels than 1, 4, 15, 395, text")
    algorithm, kid, claims, text = headers[ALG], headers[KID], headers[CWT_CLAIMS], headers[CHECKPOINT_LABEL]
    if type(algorithm) is not int or not isinstance(kid, bytes) or type(headers[VDS]) is not int:
        raise DecodeError("RECEIPT-02", "the algorithm, key id or structure of a receipt is of another type")
    if headers[VDS] != RFC9162_SHA256:
        raise DecodeError("RECEIPT-02", "a receipt of another verifiable data structure than RFC9162_SHA256")
    if not isinstance(claims, dict) or set(claims) != {ISS, SUB} or not isinstance(text, bytes):
        raise DecodeError("RECEIPT-02", "the claims of a receipt are not an issuer and a subject, or no checkpoint")
    issuer, subject = claims[ISS], claims[SUB]
    if not isinstance(issuer, str) or not 0 < len(issuer.encode()) <= ISSUER_BYTES_MAX:
        raise DecodeError("RECEIPT-02", f"the issuer of a receipt is not a text of 1 to {ISSUER_BYTES_MAX} bytes")
    try:
        checkpoint = Checkpoint.parse(text.decode())
    except UnicodeDecodeError:
        raise DecodeError("RECEIPT-02", "the checkpoint of a receipt is not UTF-8") from None
    if subject != checkpoint.origin:
        raise DecodeError("RECEIPT-02", "the subject of a receipt is not the origin of its checkpoint")
    return algorithm, kid, issuer, checkpoint


def _read_proof(unprotected: Value) -> tuple[int, tuple[int, int], tuple[bytes, ...]]:
    proofs = unprotected.get(VDP) if isinstance(unprotected, dict) and len(unprotected) == 1 else None
    if not isinstance(proofs, dict) or len(proofs) != 1:
        raise DecodeError("RECEIPT-03", "the unprotected header of a receipt is not one kind of proof")
    ((kind, listed),) = proofs.items()
    if type(kind) is not int or kind not in (INCLUSION, CONSISTENCY):
        raise DecodeError("RECEIPT-03", "the proof of a receipt is neither of inclusion nor of consistency")
    if not isinstance(listed, list) or len(listed) != 1 or not isinstance(listed[0], bytes):
        raise DecodeError("RECEIPT-03", "a receipt holds one proof, as a byte string")
    proof = codec.decode(listed[0], size_max=RECEIPT_BYTES_MAX)
    if not isinstance(proof, list) or len(proof) != 3:
        raise DecodeError("RECEIPT-03", "the proof of a receipt is not two numbers and a path")
    first, second, listed_path = proof
    if not isinstance(listed_path, list):
        raise DecodeError("RECEIPT-03", "the path of a proof is not an array")
    # bool is an int to isinstance, and true is not a number here.
    if type(first) is not int or type(second) is not int or not (0 <= first <= SIZE_MAX and 0 <= second <= SIZE_MAX):
        raise DecodeError("RECEIPT-03", "the numbers of a proof are not below 2**63")
    path = tuple(item for item in listed_path if isinstance(item, bytes) and len(item) == HASH_BYTES)
    if len(path) != len(listed_path) or len(path) > PATH_HASHES_MAX:
        raise DecodeError("RECEIPT-03", f"the path of a proof is not at most {PATH_HASHES_MAX} hashes of 32 bytes")
    return kind, (first, second), path


# --- making ---------------------------------------------------------------------------------------


def sign_root(checkpoint: Checkpoint, issuer: str, signer: ReceiptSigner) -> Receipt:
    """Sign the root of ``checkpoint``, once for all of its entries; ``with_proof`` adds a path (R2).

    Raises:
        ValueError: an issuer that is empty or too long, or an empty log, of which nothing can be proved.
    """
    if not 0 < len(issuer.encode()) <= ISSUER_BYTES_MAX or checkpoint.size < 1:
        raise ValueError(f"a receipt needs an issuer of 1 to {ISSUER_BYTES_MAX} bytes and a checkpoint with leaves")
    key = signer.public
    headers: Map = {
        ALG: key.algorithm,
        KID: key.kid,
        CWT_CLAIMS: {ISS: issuer, SUB: checkpoint.origin},
        VDS: RFC9162_SHA256,
        CHECKPOINT_LABEL: checkpoint.text.encode(),
    }
    protected = codec.encode(headers)
    signature = signer.sign(signature_structure(protected, checkpoint.root))
    numbers = (checkpoint.size, 0)
    return Receipt(protected, key.algorithm, key.kid, issuer, checkpoint, INCLUSION, numbers, (), signature)


def with_proof(signed: Receipt, kind: int, numbers: tuple[int, int], path: Sequence[bytes]) -> Receipt:
    """Return ``signed`` with this path: the signature covers the root, not the path to it."""
    return replace(signed, kind=kind, numbers=numbers, path=tuple(path))


# --- counting -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Signers:
    """The validators, by name and in order, whose receipts agree on one checkpoint and one place in it."""

    checkpoint: Checkpoint
    index: int
    validators: tuple[str, ...]


def count_signers(
    receipts: Sequence[bytes], entry: bytes, origin: str, keys: Mapping[str, Sequence[ReceiptKey]], *, needed: int
) -> Signers:
    """Count the distinct validators whose receipts put ``entry`` at one place of one checkpoint of ``origin`` (R5).

    ``keys`` holds, by validator, the keys that the caller trusts. A receipt that is unreadable, forged, of another
    log or by a stranger counts for nothing and spoils nothing; a validator counts once, however often it signed.

    Raises:
        ProofError: RECEIPT-06, fewer than ``needed`` agree.
        ValueError: ``needed`` is below 1, or two validators are given one key.
    """
    owners = {key.kid: (name, key) for name, held in keys.items() for key in held}
    if needed < 1 or len(owners) != len({(name, key.kid) for name, held in keys.items() for key in held}):
        raise ValueError("a threshold is at least 1, and a key belongs to one validator")
    agreed: dict[tuple[Checkpoint, int], set[str]] = {}
    for data in receipts:
        try:
            receipt = Receipt.parse(data)
            name, key = owners[receipt.kid]
            receipt.verify_inclusion(entry, key)
        except (ProtocolError, KeyError):
            continue
        if receipt.checkpoint.origin == origin:
            agreed.setdefault((receipt.checkpoint, receipt.numbers[1]), set()).add(name)
    most = max(agreed.items(), key=lambda item: (len(item[1]), item[0][0].size), default=None)
    if most is None or len(most[1]) < needed:
        fact = f"{len(most[1]) if most else 0} validators agree on one checkpoint with this entry, {needed} are needed"
        raise ProofError("RECEIPT-06", fact)
    (checkpoint, index), names = most
    return Signers(checkpoint, index, tuple(sorted(names)))
