"""Keys: the one Ed25519 rule, pinned; ML-DSA-44; verifier keys in their one spelling."""

from __future__ import annotations

import json
from base64 import b64encode
from hashlib import sha256, sha512
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from glasslog.errors import DecodeError
from glasslog.identity import (
    TYPE_COSIGNATURE_V1,
    TYPE_ED25519,
    TYPE_SUBTREE_V1,
    Ed25519Key,
    MlDsa44Key,
    VerifierKey,
    decode_base64,
    is_key_name,
    verify_ed25519,
    verify_mldsa44,
)
from vector_files import find_vectors

ED = Ed25519Key(bytes(32))
PQ = MlDsa44Key(bytes(32))
PQ_SIGNATURE = PQ.sign(b"message")

# --- Ed25519 from its definition (RFC 8032 5.1), as slow as it is plain ---------------------------

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
Point = tuple[int, int]


def add(one: Point, two: Point) -> Point:
    (x1, y1), (x2, y2) = one, two
    k = D * x1 * x2 * y1 * y2 % P
    x3 = (x1 * y2 + y1 * x2) * pow(1 + k, -1, P)
    y3 = (y1 * y2 + x1 * x2) * pow(1 - k, -1, P)
    return x3 % P, y3 % P


def multiply(scalar: int, point: Point) -> Point:
    total = (0, 1)
    while scalar:
        if scalar & 1:
            total = add(total, point)
        point, scalar = add(point, point), scalar >> 1
    return total


def decompress(data: bytes) -> Point | None:
    """The point of a canonical encoding, else None."""
    value = int.from_bytes(data, "little")
    sign, y = value >> 255, value & ((1 << 255) - 1)
    if y >= P:
        return None
    x2 = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - x2) % P or (x == 0 and sign):
        return None
    return (P - x if x & 1 != sign else x), y


def compress(point: Point) -> bytes:
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


BASE = decompress((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


def accept_by_the_rule(public: bytes, message: bytes, signature: bytes) -> bool:
    """The rule in the docstring of ``glasslog.identity``."""
    r_bytes, s = signature[:32], int.from_bytes(signature[32:], "little")
    a, r = decompress(public), decompress(r_bytes)
    if s >= ORDER or a is None or r is None or multiply(8, a) == (0, 1) or multiply(8, r) == (0, 1):
        return False
    k = int.from_bytes(sha512(r_bytes + public + message).digest(), "little") % ORDER
    assert BASE is not None
    return compress(add(multiply(s, BASE), multiply(k, (-a[0] % P, a[1])))) == r_bytes


def read_edge_cases() -> list[tuple[dict[str, Any], tuple[bytes, bytes, bytes]]]:
    cases = json.loads((find_vectors("ed25519-edge-cases") / "ed25519vectors.json").read_text())
    return [(case, (bytes.fromhex(case["key"]), case["msg"].encode(), bytes.fromhex(case["sig"]))) for case in cases]


def test_edge_cases_accepted_are_exactly_these() -> None:
    """Whoever changes this set forks the network: it is a new epoch of the protocol, not a new library."""
    cases = read_edge_cases()
    accepted = [case["number"] for case, arguments in cases if verify_ed25519(*arguments)]
    assert (len(cases), len(accepted)) == (914, 43)
    pinned = sha256(",".join(map(str, accepted)).encode()).hexdigest()
    assert pinned == "36521713b91ca5d28544f38cd646b5494f5911399bfe4635a8bf2f2a88f13bcf"
    # In the vectors' own words: only a low-order component that cancels out is let through.
    harmless = {"low_order_component_A", "low_order_component_R"}
    assert accepted == [case["number"] for case, _ in cases if set(case["flags"] or ()) <= harmless]


def test_edge_cases_accepted_follow_the_documented_rule() -> None:
    wrong = [
        case["number"]
        for case, arguments in read_edge_cases()
        if verify_ed25519(*arguments) != accept_by_the_rule(*arguments)
    ]
    assert not wrong


def test_scalar_beyond_the_order_is_refused() -> None:
    signature = ED.sign(b"message")
    s = int.from_bytes(signature[32:], "little")
    malleable = signature[:32] + (s + ORDER).to_bytes(32, "little")
    assert verify_ed25519(ED.public, b"message", signature)
    assert accept_by_the_rule(ED.public, b"message", signature)
    assert not verify_ed25519(ED.public, b"message", malleable)
    assert not accept_by_the_rule(ED.public, b"message", malleable)


def test_ed25519_signature_of_rfc_8032_reproduces() -> None:
    key = Ed25519Key(bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"))
    assert key.public.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert key.sign(b"").hex() == (
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b"
    )


@given(st.binary(max_size=80), st.integers(0, 511))
def test_ed25519_verifies_and_any_flip_fails(message: bytes, bit: int) -> None:
    signature = ED.sign(message)
    assert verify_ed25519(ED.public, message, signature)
    assert not verify_ed25519(ED.public, message + b"\x00", signature)
    assert not verify_ed25519(ED.public, message, flip(signature, bit))


@given(st.binary(max_size=100), st.binary(max_size=100), st.binary(max_size=100))
@example(ED.public, b"", b"")
@example(b"", b"", bytes(64))
@example(bytes(32), b"", bytes(64))
@example(PQ.public, b"message", b"")
@example(PQ.public[:-1], b"message", PQ_SIGNATURE)
@example(bytes(1312), b"message", bytes(2420))
def test_verification_of_anything_answers(public: bytes, message: bytes, signature: bytes) -> None:
    assert verify_ed25519(public, message, signature) is False
    assert verify_mldsa44(public, message, signature) is False


@given(st.integers(0, 2420 * 8 - 1))
def test_mldsa44_verifies_and_any_flip_fails(bit: int) -> None:
    assert verify_mldsa44(PQ.public, b"message", PQ_SIGNATURE)
    assert not verify_mldsa44(PQ.public, b"massage", PQ_SIGNATURE)
    assert not verify_mldsa44(PQ.public, b"message", flip(PQ_SIGNATURE, bit))


def test_mldsa44_signing_is_hedged() -> None:
    assert PQ.sign(b"message") != PQ.sign(b"message")


def test_mldsa44_of_the_cose_examples_agrees() -> None:
    folder = find_vectors("cose-mldsa-examples") / "examples" / "cose" / "examples"
    case = json.loads((folder / "ML_DSA_44.cose.json").read_text())
    key = MlDsa44Key(bytes.fromhex(case["priv"]))
    assert key.public.hex() == case["raw_public_key"]
    message, signature = bytes.fromhex(case["raw_to_be_signed"]), bytes.fromhex(case["raw_signature"])
    assert verify_mldsa44(key.public, message, signature)
    assert not verify_mldsa44(key.public, message + b"\x00", signature)


def test_private_keys_take_32_bytes_and_do_not_show_them() -> None:
    for kind in (Ed25519Key, MlDsa44Key):
        with pytest.raises(ValueError, match="32 bytes"):
            kind(bytes(31))
        key = kind(b"\x5a" * 32)
        assert "5a5a" not in repr(key)


# --- verifier keys --------------------------------------------------------------------------------

names = st.text(min_size=1, max_size=40).filter(is_key_name)
keys = st.one_of(
    st.builds(VerifierKey.build, names, st.just(TYPE_ED25519), st.binary(min_size=32, max_size=32)),
    st.builds(VerifierKey.build, names, st.just(TYPE_COSIGNATURE_V1), st.binary(min_size=32, max_size=32)),
    st.builds(VerifierKey.build, names, st.just(TYPE_SUBTREE_V1), st.just(PQ.public)),
)


def test_vkey_of_the_signed_note_specification_parses() -> None:
    text = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
    key = VerifierKey.parse(text)
    assert (key.name, key.key_id.hex(), key.type) == ("example.com/foo", "530d903a", TYPE_ED25519)
    assert key.format() == text


def test_vkeys_of_the_demo_agree() -> None:
    for text in json.loads((find_vectors("derived-demo") / "vkeys.json").read_text()).values():
        key = VerifierKey.parse(text)
        assert key.format() == text
        assert VerifierKey.build(key.name, key.type, key.key) == key


@given(keys, st.data())
def test_vkey_round_trips_and_any_change_is_refused(key: VerifierKey, data: st.DataObject) -> None:
    text = key.format()
    assert VerifierKey.parse(text) == key
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(codec="utf-8", min_codepoint=32, max_codepoint=126))
    changed = text[:place] + other + text[place + 1 :]
    if changed != text:
        with pytest.raises(DecodeError, match="KEY-0"):
            VerifierKey.parse(changed)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "KEY-01"),
        ("name", "KEY-01"),
        ("name+00000000", "KEY-01"),
        ("+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", "KEY-01"),
        ("example.com/foo+530D903A+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", "KEY-01"),
        ("example.com/foo+530d903a+", "KEY-01"),
        ("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2l", "KEY-02"),
        ("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k=", "KEY-01"),
        ("example.com/foo +530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", "KEY-01"),
        ("example.com/\udc80+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", "KEY-01"),
    ],
)
def test_vkey_malformed_is_refused(text: str, code: str) -> None:
    with pytest.raises(DecodeError, match=code):
        VerifierKey.parse(text)


@pytest.mark.parametrize(("type_byte", "size"), [(0x01, 31), (0x02, 32), (0x04, 1312), (0x06, 32), (0xFF, 32)])
def test_vkey_of_wrong_type_or_size_is_refused(type_byte: int, size: int) -> None:
    blob = bytes((type_byte,)) + bytes(size)
    key_id = sha256(b"name\n" + blob).hexdigest()[:8]
    with pytest.raises(DecodeError, match="KEY-03"):
        VerifierKey.parse(f"name+{key_id}+{b64encode(blob).decode()}")
    with pytest.raises(ValueError, match="cannot have"):
        VerifierKey.build("name", type_byte, bytes(size))


@pytest.mark.parametrize("name", ["", " ", "a b", "a+b", "a\tb", "a\u2003b", "a\u00a0b", "a\x1fb", "x" * 256])
def test_key_name_that_no_line_could_hold_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a key"):
        VerifierKey.build(name, TYPE_ED25519, bytes(32))


def test_key_names_may_be_any_script() -> None:
    assert is_key_name("\N{GREEK SMALL LETTER PI}.example/log")


@given(st.binary(max_size=50))
def test_base64_round_trips(data: bytes) -> None:
    assert decode_base64(b64encode(data).decode()) == data


@pytest.mark.parametrize("text", ["AA", "AB==", "AAB=", "A A=", "AA==\n", "-_==", "AA=", "AA==AA==", "\u00e9===", "="])
def test_base64_in_another_spelling_is_refused(text: str) -> None:
    assert decode_base64(text) is None


def flip(value: bytes, bit: int) -> bytes:
    at = bit // 8
    return value[:at] + bytes((value[at] ^ 1 << bit % 8,)) + value[at + 1 :]
