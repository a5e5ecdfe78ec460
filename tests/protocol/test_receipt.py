"""Receipts: one spelling, one root, one validator's word each; and thresholds count validators (specs/receipts.md)."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glasslog import codec
from glasslog.checkpoint import Checkpoint
from glasslog.codec import Tagged, Value
from glasslog.errors import DecodeError, ProofError, ProtocolError, SignatureError
from glasslog.receipt import (
    CONSISTENCY,
    INCLUSION,
    RECEIPT_BYTES_MAX,
    Receipt,
    count_signers,
    sign_root,
    with_proof,
)
from glasslog.receipt_key import EdDsaSigner, Es256Signer, ReceiptKey, ReceiptSigner, decode_key_set, encode_key_set
from small_log import ORIGIN, SmallLog, seed
from vector_files import find_vectors
from wire_values import code_of, mutations

LOG = SmallLog()
LOG.append([f"entry {number}".encode() for number in range(11)])
OLDER, PATH_IN_OLDER = LOG.checkpoint, tuple(LOG.reader.inclusion_proof(3))
LOG.append([f"entry {number}".encode() for number in range(11, 300)])
ENTRY, INDEX = b"entry 3", 3
PATH = tuple(LOG.reader.inclusion_proof(INDEX))
SIGNERS: list[ReceiptSigner] = [Es256Signer(seed("receipt", 0)), EdDsaSigner(seed("receipt", 1))]
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def make(signer: ReceiptSigner, issuer: str = "institute-0") -> Receipt:
    return with_proof(sign_root(LOG.checkpoint, issuer, signer), INCLUSION, (LOG.checkpoint.size, INDEX), PATH)


RECEIPTS = [make(signer) for signer in SIGNERS]
KEYS = [signer.public for signer in SIGNERS]


@pytest.mark.parametrize(("receipt", "key"), list(zip(RECEIPTS, KEYS, strict=True)))
def test_receipt_verifies_with_its_key_and_entry_only(receipt: Receipt, key: ReceiptKey) -> None:
    """R1 and R3: what is made reads back, and holds for that entry under that key."""
    again = Receipt.parse(receipt.encode())
    assert again == receipt
    again.verify_inclusion(ENTRY, key)
    with pytest.raises(ProofError, match="PROOF-03"):
        again.verify_inclusion(b"entry 4", key)
    for other in (*(other for other in KEYS if other != key), Es256Signer(bytes(32)).public):
        with pytest.raises(SignatureError, match="RECEIPT-05"):
            again.verify_inclusion(ENTRY, other)


@pytest.mark.parametrize("signer", SIGNERS)
def test_one_signature_serves_every_entry(signer: ReceiptSigner) -> None:
    """R2: the path is nobody's signature's business."""
    signed = sign_root(LOG.checkpoint, "institute-0", signer)
    for index in (0, 1, 255, 256, 299):
        path = LOG.reader.inclusion_proof(index)
        receipt = with_proof(signed, INCLUSION, (300, index), path)
        Receipt.parse(receipt.encode()).verify_inclusion(LOG.entries[index], signer.public)


@pytest.mark.parametrize("signer", SIGNERS)
def test_consistency_receipt(signer: ReceiptSigner) -> None:
    signed = sign_root(LOG.checkpoint, "institute-0", signer)
    receipt = with_proof(signed, CONSISTENCY, (11, 300), LOG.reader.consistency_proof(11))
    Receipt.parse(receipt.encode()).verify_consistency(OLDER, signer.public)
    for older in (replace(OLDER, origin="other.example"), replace(OLDER, size=12)):
        with pytest.raises(ProofError, match="RECEIPT-04"):
            receipt.verify_consistency(older, signer.public)
    with pytest.raises(ProofError, match="PROOF-03"):
        receipt.verify_consistency(replace(OLDER, root=bytes(32)), signer.public)
    with pytest.raises(ProofError, match="RECEIPT-04"):
        receipt.verify_inclusion(ENTRY, signer.public)


def test_size_restated_is_refused() -> None:
    """R3: RFC 9942 signs no size, so that 5 of 8 can verify as 5 of 7; the signed checkpoint forbids it."""
    log = SmallLog()
    log.append([f"entry {number}".encode() for number in range(8)])
    receipt = with_proof(
        sign_root(log.checkpoint, "x", SIGNERS[0]), INCLUSION, (8, 5), tuple(log.reader.inclusion_proof(5))
    )
    receipt.verify_inclusion(b"entry 5", KEYS[0])
    with pytest.raises(ProofError, match="RECEIPT-04"):
        replace(receipt, numbers=(7, 5)).verify_inclusion(b"entry 5", KEYS[0])


@given(mutations(RECEIPTS[0].encode()) | mutations(RECEIPTS[1].encode()) | st.binary(max_size=80))
@settings(max_examples=300)
def test_only_receipts_are_accepted_and_only_in_one_spelling(data: bytes) -> None:
    verdict = code_of(lambda: Receipt.parse(data))
    assert verdict == "accepted" or verdict.startswith(("CBOR-", "RECEIPT-0", "CHECKPOINT-0"))
    if verdict == "accepted":
        receipt = Receipt.parse(data)
        assert receipt.encode() == data
        if data not in (RECEIPTS[0].encode(), RECEIPTS[1].encode()):
            for key in KEYS:
                with pytest.raises(ProtocolError):
                    receipt.verify_inclusion(ENTRY, key)


def spoil(part: str, value: Value) -> bytes:
    """A receipt of which one part is another value."""
    receipt = RECEIPTS[0]
    headers = codec.decode(receipt.protected, size_max=RECEIPT_BYTES_MAX)
    assert isinstance(headers, dict)
    proof: Value = [300, 3, list[Value](PATH)]
    if part == "header":
        assert isinstance(value, dict)
        headers = {label: held for label, held in {**headers, **value}.items() if held is not None}
    protected: Value = codec.encode(headers) if part != "protected" else value
    listed: Value = [codec.encode(value if part == "proof" else proof)]
    unprotected: Value = value if part == "unprotected" else {396: {-1: listed}}
    payload: Value = value if part == "payload" else None
    signature: Value = value if part == "signature" else receipt.signature
    whole: Value = [protected, unprotected, payload, signature]
    return codec.encode(value if part == "whole" else Tagged(18, whole))


def test_spoil_without_fault_is_the_receipt() -> None:
    assert spoil("header", {}) == RECEIPTS[0].encode()


MALFORMED: list[tuple[str, Value, str]] = [
    ("whole", [b"", {}, None, b""], "RECEIPT-01"), ("whole", Tagged(18, [1]), "RECEIPT-01"),
    ("payload", bytes(32), "RECEIPT-01"), ("protected", {}, "RECEIPT-01"),
    ("signature", bytes(63), "RECEIPT-01"), ("signature", "x" * 64, "RECEIPT-01"),
    ("protected", b"", "CBOR-"), ("header", {395: 2}, "RECEIPT-02"), ("header", {395: True}, "RECEIPT-02"),
    ("header", {1: "ES256"}, "RECEIPT-02"), ("header", {1: True}, "RECEIPT-02"), ("header", {4: 1}, "RECEIPT-02"),
    ("header", {4: None}, "RECEIPT-02"), ("header", {16: "x"}, "RECEIPT-02"),
    ("header", {"tlog-checkpoint": None}, "RECEIPT-02"), ("header", {"tlog-checkpoint": b"\xff"}, "RECEIPT-02"),
    ("header", {"tlog-checkpoint": b"x"}, "CHECKPOINT-01"),
    ("header", {15: {1: "i"}}, "RECEIPT-02"), ("header", {15: {1: "", 2: ORIGIN}}, "RECEIPT-02"),
    ("header", {15: {1: "i" * 256, 2: ORIGIN}}, "RECEIPT-02"), ("header", {15: {1: "i", 2: "other"}}, "RECEIPT-02"),
    ("unprotected", {}, "RECEIPT-03"), ("unprotected", [], "RECEIPT-03"),
    ("unprotected", {396: {-1: [], -2: []}}, "RECEIPT-03"), ("unprotected", {396: {-3: [b"x"]}}, "RECEIPT-03"),
    ("unprotected", {396: {-1: []}}, "RECEIPT-03"), ("unprotected", {396: {-1: [b"", b""]}}, "RECEIPT-03"),
    ("proof", [300, 3, b""], "RECEIPT-03"), ("proof", [300, 3], "RECEIPT-03"),
    ("proof", [300, True, []], "RECEIPT-03"),
    ("proof", [300, -1, []], "RECEIPT-03"), ("proof", [1 << 63, 1, []], "RECEIPT-03"),
    ("proof", [300, 3, [bytes(31)]], "RECEIPT-03"), ("proof", [300, 3, [bytes(32)] * 64], "RECEIPT-03"),
    ("payload", bytes(RECEIPT_BYTES_MAX), "CBOR-01"),
]  # fmt: skip


@pytest.mark.parametrize(("part", "value", "code"), MALFORMED)
def test_malformed_receipt_is_refused(part: str, value: Value, code: str) -> None:
    with pytest.raises(DecodeError, match=code):
        Receipt.parse(spoil(part, value))


# --- counting -------------------------------------------------------------------------------------


def make_quorum() -> tuple[list[bytes], dict[str, list[ReceiptKey]]]:
    signers = {f"institute-{number}": Es256Signer(seed("counted", number)) for number in range(4)}
    receipts = [make(signer, name).encode() for name, signer in signers.items()]
    return receipts, {name: [signer.public] for name, signer in signers.items()}


def second_form(data: bytes) -> bytes:
    """The other signature (r, n - s) that ECDSA accepts for the same message."""
    receipt = Receipt.parse(data)
    s = P256_ORDER - int.from_bytes(receipt.signature[32:])
    return replace(receipt, signature=receipt.signature[:32] + s.to_bytes(32)).encode()


def test_distinct_validators_are_counted() -> None:
    """R5: three of four; junk, strangers and other logs neither count nor spoil."""
    receipts, keys = make_quorum()
    junk = [b"", b"\xd2", receipts[3][:-1] + b"\x00", make(Es256Signer(bytes(32)), "institute-3").encode()]
    found = count_signers([*junk, *receipts[:3]], ENTRY, ORIGIN, keys, needed=3)
    assert found.validators == ("institute-0", "institute-1", "institute-2")
    assert (found.checkpoint, found.index) == (LOG.checkpoint, INDEX)
    for origin, entry in (("other.example", ENTRY), (ORIGIN, b"entry 4")):
        with pytest.raises(ProofError, match="RECEIPT-06 0 validators"):
            count_signers(receipts, entry, origin, keys, needed=1)


def test_one_validator_is_counted_once() -> None:
    """R5: neither repetition, nor ECDSA's second form, nor a second key, nor a claimed name adds a validator."""
    receipts, keys = make_quorum()
    second_key = EdDsaSigner(seed("second", 0))
    keys["institute-0"].append(second_key.public)
    claimed = make(Es256Signer(seed("counted", 0)), "institute-2").encode()
    alike = [receipts[0], second_form(receipts[0]), make(second_key).encode(), claimed]
    for data, key in ((alike[1], keys["institute-0"][0]), (alike[2], second_key.public)):
        Receipt.parse(data).verify_inclusion(ENTRY, key)  # each holds on its own
    with pytest.raises(ProofError, match="RECEIPT-06 2 validators"):
        count_signers([*alike * 2, receipts[1]], ENTRY, ORIGIN, keys, needed=3)


def test_validators_of_different_checkpoints_are_not_added_up() -> None:
    """R5: two who signed the older tree and two who signed the newer are two, not four."""
    _, keys = make_quorum()
    signers = [Es256Signer(seed("counted", number)) for number in range(4)]
    old = [with_proof(sign_root(OLDER, "x", signer), INCLUSION, (11, 3), PATH_IN_OLDER) for signer in signers[:2]]
    new = [make(signer) for signer in signers[2:]]
    data = [receipt.encode() for receipt in (*old, *new)]
    assert count_signers(data, ENTRY, ORIGIN, keys, needed=2).checkpoint == LOG.checkpoint
    with pytest.raises(ProofError, match="RECEIPT-06 2 validators"):
        count_signers(data, ENTRY, ORIGIN, keys, needed=3)


def test_key_of_two_names_and_threshold_of_none_are_refused() -> None:
    receipts, keys = make_quorum()
    with pytest.raises(ValueError, match="one validator"):
        count_signers(receipts, ENTRY, ORIGIN, {**keys, "again": keys["institute-0"]}, needed=1)
    with pytest.raises(ValueError, match="at least 1"):
        count_signers(receipts, ENTRY, ORIGIN, keys, needed=0)


# --- keys -----------------------------------------------------------------------------------------


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=40), st.sampled_from([Es256Signer, EdDsaSigner]))
@settings(max_examples=40)
def test_keys_round_trip_and_sign(secret: bytes, message: bytes, kind: type[Es256Signer | EdDsaSigner]) -> None:
    """R4: a key set says the keys back, and a signature holds for its message alone."""
    signer = kind(secret)
    key = signer.public
    assert decode_key_set(encode_key_set([key, *KEYS])) == (key, *KEYS)
    signature = signer.sign(message)
    assert signature == kind(secret).sign(message)
    assert key.verify(message, signature)
    assert not key.verify(message + b"x", signature)
    assert not key.verify(message, signature[:-1])
    assert not key.verify(message, bytes(64))


def test_thumbprint_is_that_of_rfc_9679() -> None:
    """The example of RFC 9679 section 6."""
    x = bytes.fromhex("65eda5a12577c2bae829437fe338701a10aaa375e1bb5b5de108de439c08551d")
    y = bytes.fromhex("1e52ed75701163f7f9e40ddf9f341b3dc9ba860af7e0ca7ca7e9eecd0084d19c")
    thumbprint = "496bd8afadf307e5b08c64b0421bf9dc01528a344a43bda88fadd1669da253ec"
    assert ReceiptKey.from_cose({1: 2, -1: 1, -2: x, -3: y}).kid.hex() == thumbprint


EC, OKP = KEYS[0].to_cose(), KEYS[1].to_cose()


WRONG_KEYS: list[Value] = [
    [], {}, {**EC, 5: 1}, {**EC, 1: 3}, {**EC, -1: 2}, {**EC, -2: bytes(32)}, {**EC, -3: bytes(31)},
    {**EC, -3: True}, {**EC, 2: bytes(32)}, {**EC, 3: -8}, {**OKP, 3: -7}, {**OKP, -2: bytes(31)},
    {**OKP, -3: bytes(32)}, {**OKP, -1: 4},
]  # fmt: skip


@pytest.mark.parametrize("value", WRONG_KEYS)
def test_wrong_key_is_refused(value: Value) -> None:
    with pytest.raises(DecodeError, match="RECEIPT-07"):
        ReceiptKey.from_cose(value)


@pytest.mark.parametrize("value", [{}, []])
def test_key_set_is_a_list_of_keys(value: Value) -> None:
    with pytest.raises(DecodeError, match="RECEIPT-07"):
        decode_key_set(codec.encode(value))


def test_misuse_is_a_bug() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Es256Signer(bytes(31))
    with pytest.raises(ValueError, match="issuer"):
        sign_root(LOG.checkpoint, "", SIGNERS[0])
    with pytest.raises(ValueError, match="leaves"):
        sign_root(Checkpoint(ORIGIN, 0, sha256().digest()), "x", SIGNERS[0])


# --- the working group's examples -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "numbers"), [("inclusion", INCLUSION, (5, 3)), ("consistency", CONSISTENCY, (3, 5))]
)
def test_example_of_the_working_group(name: str, kind: int, numbers: tuple[int, int]) -> None:
    """The proof within is ours byte for byte; the examples' headers are out of order, so our reader refuses them."""
    data = (find_vectors("cose-receipts-wg-examples") / f"examples/{name}-receipt.cbor").read_bytes()
    outer = codec.decode(data, size_max=999, tags=(18,))
    assert isinstance(outer, Tagged)
    assert isinstance(outer.value, list)
    unprotected = outer.value[1]
    assert isinstance(unprotected, dict)
    proofs: Value = unprotected[396]
    assert isinstance(proofs, dict)
    listed = proofs[kind]
    assert isinstance(listed, list)
    assert isinstance(listed[0], bytes)
    proof = codec.decode(listed[0], size_max=999)
    assert isinstance(proof, list)
    assert isinstance(proof[2], list)
    path = [item for item in proof[2] if isinstance(item, bytes)]
    ours = codec.decode(with_proof(RECEIPTS[0], kind, numbers, path).encode(), size_max=999, tags=(18,))
    assert isinstance(ours, Tagged)
    assert isinstance(ours.value, list)
    assert ours.value[1] == unprotected
    with pytest.raises(DecodeError, match="CBOR-"):
        Receipt.parse(data)
