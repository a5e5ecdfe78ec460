"""Checkpoints and a validator's three lines."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from glasslog.checkpoint import (
    TIME_MAX,
    Checkpoint,
    check_line,
    cosignature_lines,
    cosignature_time,
    cosignature_v1_message,
    format_checkpoint,
    subtree_v1_message,
    verify_cosignature,
)
from glasslog.errors import DecodeError, SignatureError
from glasslog.identity import TYPE_SUBTREE_V1, VerifierKey
from glasslog.merkle import EMPTY_ROOT
from glasslog.note import Note, NoteLine, verify_note
from small_log import ORIGIN, TIME, make_checkpoint, make_policy, make_validator, make_validators
from vector_files import find_vectors

CHECKPOINT = Checkpoint(ORIGIN, 5, bytes(range(32)))
ROOT = b64encode(CHECKPOINT.root).decode()
VALIDATOR = make_validator(0)
LOG, ED25519, MLDSA44 = VALIDATOR.keys.sign(CHECKPOINT, TIME)

checkpoints = st.builds(
    Checkpoint,
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60),
    st.integers(1, (1 << 63) - 1),
    st.binary(min_size=32, max_size=32),
)


@given(checkpoints)
@example(Checkpoint("go.sum database tree", 1, bytes(32)))
@example(Checkpoint(ORIGIN, 0, EMPTY_ROOT))
def test_checkpoint_round_trips(checkpoint: Checkpoint) -> None:
    assert Checkpoint.parse(checkpoint.text) == checkpoint


@given(checkpoints, st.data())
def test_checkpoint_text_has_one_spelling(checkpoint: Checkpoint, data: st.DataObject) -> None:
    text = checkpoint.text
    place = data.draw(st.integers(0, len(text)))
    changed = text[:place] + data.draw(st.text("\n 0+-1=/A", max_size=2)) + text[place + data.draw(st.integers(0, 1)) :]
    try:
        parsed = Checkpoint.parse(changed)
    except DecodeError:
        return
    assert parsed.text == changed


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "CHECKPOINT-01"),
        (f"{ORIGIN}\n5\n", "CHECKPOINT-01"),
        (f"{ORIGIN}\n5\n{ROOT}", "CHECKPOINT-01"),
        (f"{ORIGIN}\n5\n{ROOT}\nan extension\n", "CHECKPOINT-01"),
        (f"{ORIGIN}\n5\n{ROOT}\n\n", "CHECKPOINT-01"),
        (f"\n5\n{ROOT}\n", "CHECKPOINT-02"),
        (f"{'x' * 256}\n5\n{ROOT}\n", "CHECKPOINT-02"),
        (f"{ORIGIN}\n05\n{ROOT}\n", "CHECKPOINT-03"),
        (f"{ORIGIN}\n-5\n{ROOT}\n", "CHECKPOINT-03"),
        (f"{ORIGIN}\n+5\n{ROOT}\n", "CHECKPOINT-03"),
        (f"{ORIGIN}\n \n{ROOT}\n", "CHECKPOINT-03"),
        (f"{ORIGIN}\n5 \n{ROOT}\n", "CHECKPOINT-03"),
        (f"{ORIGIN}\n\u0665\n{ROOT}\n", "CHECKPOINT-03"),
        (f"{ORIGIN}\n{1 << 63}\n{ROOT}\n", "CHECKPOINT-03"),
        (f"{ORIGIN}\n5\n{ROOT[:-1]}\n", "CHECKPOINT-04"),
        (f"{ORIGIN}\n5\nAAAA\n", "CHECKPOINT-04"),
        (f"{ORIGIN}\n5\n{'A' * 42}B=\n", "CHECKPOINT-04"),
        (f"{ORIGIN}\n0\n{ROOT}\n", "CHECKPOINT-04"),
    ],
)
def test_checkpoint_malformed_is_refused(text: str, code: str) -> None:
    with pytest.raises(DecodeError, match=code):
        Checkpoint.parse(text)


# --- messages -------------------------------------------------------------------------------------


def test_cosignature_v1_message_is_the_specifications() -> None:
    assert cosignature_v1_message(TIME, CHECKPOINT.text) == (
        f"cosignature/v1\ntime {TIME}\n{ORIGIN}\n5\n{ROOT}\n".encode()
    )


def test_subtree_v1_message_is_the_demos() -> None:
    folder = find_vectors("derived-demo")
    checkpoint = Checkpoint.parse(Note.parse((folder / "checkpoint").read_bytes()).text)
    message = subtree_v1_message(
        "validator0.example/ledger1", 1_784_764_800, checkpoint.origin, 0, checkpoint.size, checkpoint.root
    )
    assert message.hex() == (folder / "mldsa-v0-cosigned_message.hex").read_text().strip()


def test_subtree_v1_message_with_a_start_has_no_time() -> None:
    assert subtree_v1_message("name", 0, ORIGIN, 4, 8, bytes(32))[12:25] == b"\x04name" + bytes(8)
    with pytest.raises(ValueError, match="without a time"):
        subtree_v1_message("name", 1, ORIGIN, 4, 8, bytes(32))
    with pytest.raises(ValueError, match="32 bytes"):
        subtree_v1_message("name", 1, ORIGIN, 0, 8, bytes(31))


def test_checkpoints_of_the_demo_verify() -> None:
    folder = find_vectors("derived-demo")
    keys = [VerifierKey.parse(text) for text in json.loads((folder / "vkeys.json").read_text()).values()]
    for name, count in (("checkpoint", 5), ("checkpoint.with-mldsa", 9)):
        note = Note.parse((folder / name).read_bytes())
        verified = verify_note(note, keys, check=check_line)
        assert len(verified) == len(note.lines) == count
        assert {cosignature_time(key, line) for key, line in zip(verified, note.lines, strict=True)} == {
            None,
            1_784_764_800,
        }


# --- one validator's lines ------------------------------------------------------------------------


def verify(**changed: object) -> None:
    arguments: dict[str, object] = {"time": TIME, "log": LOG, "ed25519": ED25519, "mldsa44": MLDSA44, **changed}
    verify_cosignature(VALIDATOR.cosigner, CHECKPOINT, **arguments)  # type: ignore[arg-type]  # a test of wrong ones


def test_cosignature_signed_verifies() -> None:
    verify()


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"time": 0}, "COSIGN-01"),
        ({"time": TIME_MAX + 1}, "COSIGN-01"),
        ({"time": TIME + 1}, "COSIGN-03"),
        ({"log": ED25519}, "COSIGN-02"),
        ({"log": b""}, "COSIGN-02"),
        ({"ed25519": LOG}, "COSIGN-03"),
        ({"mldsa44": bytes(2420)}, "COSIGN-04"),
        ({"mldsa44": MLDSA44[:-1]}, "COSIGN-04"),
    ],
)
def test_cosignature_changed_is_refused_by_name(changed: dict[str, object], code: str) -> None:
    with pytest.raises(SignatureError, match=code):
        verify(**changed)


@pytest.mark.parametrize(
    "other",
    [
        Checkpoint(ORIGIN, 6, CHECKPOINT.root),
        Checkpoint(ORIGIN, 5, bytes(32)),
        Checkpoint(ORIGIN + "x", 5, CHECKPOINT.root),
    ],
)
def test_cosignature_of_another_checkpoint_does_not_verify(other: Checkpoint) -> None:
    lines = cosignature_lines(VALIDATOR.cosigner, time=TIME, log=LOG, ed25519=ED25519, mldsa44=MLDSA44)
    keys = VALIDATOR.cosigner.log, VALIDATOR.cosigner.ed25519, VALIDATOR.cosigner.mldsa44
    for key, line in zip(keys, lines, strict=True):
        assert check_line(key, CHECKPOINT.text, line.signature)
        assert not check_line(key, other.text, line.signature)
        assert not check_line(key, CHECKPOINT.text, line.signature[:-1])
        assert not check_line(key, CHECKPOINT.text, b"")


def test_cosignature_0x06_commits_to_its_name_and_0x04_does_not() -> None:
    renamed = VerifierKey.build("another/small", TYPE_SUBTREE_V1, VALIDATOR.cosigner.mldsa44.key)
    lines = cosignature_lines(VALIDATOR.cosigner, time=TIME, log=LOG, ed25519=ED25519, mldsa44=MLDSA44)
    assert not check_line(renamed, CHECKPOINT.text, lines[2].signature)


def test_cosignature_0x06_of_time_0_does_not_count_in_a_note() -> None:
    message = subtree_v1_message(VALIDATOR.keys.name, 0, ORIGIN, 0, CHECKPOINT.size, CHECKPOINT.root)
    signature = bytes(8) + VALIDATOR.keys.mldsa44.sign(message)
    assert not check_line(VALIDATOR.cosigner.mldsa44, CHECKPOINT.text, signature)


def test_cosignature_0x06_over_extension_lines_does_not_hold() -> None:
    lines = cosignature_lines(VALIDATOR.cosigner, time=TIME, log=LOG, ed25519=ED25519, mldsa44=MLDSA44)
    assert not check_line(VALIDATOR.cosigner.mldsa44, CHECKPOINT.text + "extension\n", lines[2].signature)


def test_signing_at_no_time_is_our_bug() -> None:
    with pytest.raises(ValueError, match="time 0"):
        VALIDATOR.keys.sign(CHECKPOINT, 0)


@pytest.mark.parametrize("changed", [{"log": b"x"}, {"ed25519": bytes(72)}, {"mldsa44": bytes(2428)}])
def test_lines_of_torn_signatures_are_our_bug(changed: dict[str, bytes]) -> None:
    raw = {"log": LOG, "ed25519": ED25519, "mldsa44": MLDSA44, **changed}
    with pytest.raises(ValueError, match="bytes"):
        cosignature_lines(VALIDATOR.cosigner, time=TIME, **raw)


# --- the note -------------------------------------------------------------------------------------


def test_checkpoint_note_has_three_lines_a_validator_in_order() -> None:
    data = make_checkpoint(CHECKPOINT, make_validators(4))
    note = Note.parse(data)
    expected = [(key.name, key.key_id) for key in make_policy(4).bft().keys]
    assert [(line.name, line.key_id) for line in note.lines] == expected
    assert {line.name for line in note.lines[::3]} == {ORIGIN}
    # 4 x (Ed25519 log line + 0x04 + 0x06), as reckoned in the study of formats: about 3.5 kB a validator.
    assert len(data) < 15_000


def test_checkpoint_note_of_the_largest_network_fits_stock_clients() -> None:
    groups = [
        (
            NoteLine(ORIGIN, number.to_bytes(4, "big"), bytes(64)),
            NoteLine(f"v{number}", bytes(4), bytes(72)),
            NoteLine(f"v{number}", b"\x01\x00\x00\x00", bytes(2428)),
        )
        for number in range(64)
    ]
    note = Note.parse(format_checkpoint(CHECKPOINT, groups))
    assert len(note.lines) <= 100
    assert [line.name for line in note.lines].count(ORIGIN) == 1
    cosigners = {line.name for line in note.lines} - {ORIGIN}
    assert len(cosigners) >= 64 - 63 // 3
    exact = Note.parse(format_checkpoint(CHECKPOINT, groups[:33]))
    assert len(exact.lines) == 99


def test_checkpoint_note_without_signatures_is_our_bug() -> None:
    with pytest.raises(ValueError, match="without a signature"):
        format_checkpoint(CHECKPOINT, [])
