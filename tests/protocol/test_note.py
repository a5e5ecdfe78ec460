"""Signed notes: one spelling, and two tempers of verification."""

from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasslog.errors import DecodeError, SignatureError
from glasslog.identity import TYPE_COSIGNATURE_V1, TYPE_ED25519, Ed25519Key, VerifierKey, is_key_name
from glasslog.note import NOTE_BYTES_MAX, Note, NoteLine, check_ed25519, verify_note

SPEC_KEY = VerifierKey.parse("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
SPEC_NOTE = (
    "This is an example message.\n\n\N{EM DASH} example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
).encode()

SIGNERS = [Ed25519Key(bytes((number,)) * 32) for number in range(4)]
KEYS = [VerifierKey.build(f"signer.example/{n}", TYPE_ED25519, key.public) for n, key in enumerate(SIGNERS)]
TEXT = "a text\n\nof two paragraphs\n"


def sign(number: int, text: str = TEXT) -> NoteLine:
    return NoteLine(KEYS[number].name, KEYS[number].key_id, SIGNERS[number].sign(text.encode()))


printable = st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"])
texts = st.lists(st.text(printable, max_size=20), min_size=1, max_size=5).map(lambda lines: "\n".join(lines) + "\n")
lines = st.builds(
    NoteLine,
    st.text(printable, min_size=1, max_size=20).filter(is_key_name),
    st.binary(min_size=4, max_size=4),
    st.binary(min_size=1, max_size=80),
)


def test_note_of_the_specification_verifies() -> None:
    note = Note.parse(SPEC_NOTE)
    assert note.text == "This is an example message.\n"
    assert note.format() == SPEC_NOTE
    assert verify_note(note, [SPEC_KEY], strict=True) == (SPEC_KEY,)


def test_note_of_the_specification_with_any_bit_flipped_fails() -> None:
    for place in range(len(SPEC_NOTE)):
        for bit in range(8):
            flipped = SPEC_NOTE[:place] + bytes((SPEC_NOTE[place] ^ 1 << bit,)) + SPEC_NOTE[place + 1 :]
            with pytest.raises((DecodeError, SignatureError), match="NOTE-0"):
                verify_note(Note.parse(flipped), [SPEC_KEY], strict=True)


@given(texts, st.lists(lines, min_size=1, max_size=5))
def test_note_round_trips(text: str, signature_lines: list[NoteLine]) -> None:
    note = Note(text, tuple(signature_lines))
    assert Note.parse(note.format()) == note


@given(st.one_of(st.binary(max_size=200), st.text("\n \u2014abc=A+/", max_size=60).map(str.encode)))
def test_note_of_garbage_is_refused_or_is_its_own_spelling(data: bytes) -> None:
    try:
        note = Note.parse(data)
    except DecodeError:
        return
    assert note.format() == data


GOOD = b64encode(b"\x00\x01\x02\x03signature").decode()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "NOTE-02"),
        (b"text\n", "NOTE-02"),
        (b"text\n\n", "NOTE-02"),
        (f"text\n\n\u2014 name {GOOD}".encode(), "NOTE-02"),
        (f"text\n\u2014 name {GOOD}\n".encode(), "NOTE-02"),
        (f"text\n\n\u2014 name {GOOD}\n\n".encode(), "NOTE-02"),
        (f"text\n\n\u2014 name {GOOD}\nmore\n".encode(), "NOTE-03"),
        (f"text\n\n- name {GOOD}\n".encode(), "NOTE-03"),
        (f"text\n\n\u2014  {GOOD}\n".encode(), "NOTE-03"),
        (f"text\n\n\u2014 {GOOD}\n".encode(), "NOTE-03"),
        (f"text\n\n\u2014 name  {GOOD}\n".encode(), "NOTE-03"),
        (f"text\n\n\u2014 name {GOOD} \n".encode(), "NOTE-03"),
        (f"text\n\n\u2014 na+me {GOOD}\n".encode(), "NOTE-03"),
        (f"text\n\n\u2014 na\u2003me {GOOD}\n".encode(), "NOTE-03"),
        (f"text\n\n\u2014 na\u2028me {GOOD}\n".encode(), "NOTE-03"),
        ("text\n\n\u2014 name AAAA\n".encode(), "NOTE-03"),
        ("text\n\n\u2014 name AAAAAA==\n".encode(), "NOTE-03"),
        ("text\n\n\u2014 name AAAAAAB=\n".encode(), "NOTE-03"),
        ("text\n\n\u2014 name AAAAAAA\n".encode(), "NOTE-03"),
        (f"te\txt\n\n\u2014 name {GOOD}\n".encode(), "NOTE-01"),
        (f"text\r\n\n\u2014 name {GOOD}\n".encode(), "NOTE-01"),
        (f"te\x00xt\n\n\u2014 name {GOOD}\n".encode(), "NOTE-01"),
        (b"\xff" + f"text\n\n\u2014 name {GOOD}\n".encode(), "NOTE-01"),
        (b"\xed\xa0\x80" + f"text\n\n\u2014 name {GOOD}\n".encode(), "NOTE-01"),
        (b"x" * NOTE_BYTES_MAX + f"\n\n\u2014 name {GOOD}\n".encode(), "NOTE-01"),
        (("text\n\n" + f"\u2014 name {GOOD}\n" * 101).encode(), "NOTE-02"),
    ],
)
def test_note_malformed_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(DecodeError, match=code):
        Note.parse(data)


def test_note_of_100_lines_is_taken() -> None:
    note = Note(TEXT, tuple([NoteLine("name", bytes(4), b"signature")] * 100))
    assert Note.parse(note.format()) == note


def test_text_with_an_exotic_line_separator_stays_one_line() -> None:
    note = Note("one\u2028still one\u0085\n", (sign(0, "one\u2028still one\u0085\n"),))
    assert verify_note(Note.parse(note.format()), KEYS) == (KEYS[0],)


# --- verification ---------------------------------------------------------------------------------


def test_unknown_keys_are_ignored_unless_strict() -> None:
    note = Note(TEXT, (sign(0), sign(3), sign(1)))
    assert verify_note(note, KEYS[:2]) == (KEYS[0], KEYS[1])
    assert verify_note(note, []) == ()
    with pytest.raises(SignatureError, match=r"NOTE-04.*signer\.example/3"):
        verify_note(note, KEYS[:2], strict=True)


def test_same_name_with_another_key_is_unknown() -> None:
    impostor = NoteLine(KEYS[0].name, KEYS[3].key_id, sign(3).signature)
    assert verify_note(Note(TEXT, (impostor,)), KEYS) == ()


@pytest.mark.parametrize("strict", [False, True])
def test_known_key_that_does_not_verify_rejects_the_note(strict: bool) -> None:
    note = Note(TEXT, (sign(0), sign(1, "another text\n")))
    with pytest.raises(SignatureError, match=r"NOTE-05.*signer\.example/1"):
        verify_note(note, KEYS, strict=strict)


def test_line_twice_counts_once_and_never_if_strict() -> None:
    note = Note(TEXT, (sign(0), sign(0)))
    assert verify_note(note, KEYS) == (KEYS[0],)
    with pytest.raises(SignatureError, match="NOTE-06"):
        verify_note(note, KEYS, strict=True)


def test_second_line_of_a_key_must_verify_too() -> None:
    with pytest.raises(SignatureError, match="NOTE-05"):
        verify_note(Note(TEXT, (sign(0), sign(0, "another text\n"))), KEYS)


@given(st.permutations(range(4)), st.integers(1, 4))
def test_strict_takes_the_order_of_the_keys_only(order: list[int], count: int) -> None:
    chosen = order[:count]
    note = Note(TEXT, tuple([sign(number) for number in chosen]))
    assert verify_note(note, KEYS) == tuple([KEYS[number] for number in chosen])
    if chosen == sorted(chosen):
        assert verify_note(note, KEYS, strict=True) == tuple([KEYS[number] for number in chosen])
    else:
        with pytest.raises(SignatureError, match="NOTE-06"):
            verify_note(note, KEYS, strict=True)


def test_key_listed_twice_is_our_bug() -> None:
    with pytest.raises(ValueError, match="one name and key id"):
        verify_note(Note(TEXT, (sign(0),)), [KEYS[0], KEYS[0]])


def test_type_01_check_refuses_other_types() -> None:
    key = VerifierKey.build("signer.example/0", TYPE_COSIGNATURE_V1, SIGNERS[0].public)
    assert not check_ed25519(key, TEXT, SIGNERS[0].sign(TEXT.encode()))
