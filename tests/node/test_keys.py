"""Key files: round trip, and a refusal that says what to do for everything else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasslog_node.errors import ConfigError
from glasslog_node.keys import (
    Purpose,
    SecretKey,
    check_private_folder,
    create_key,
    decode_key,
    decode_token,
    encode_key,
    key_path,
    read_key,
    read_private_file,
)

OWNER = "institute-de.example"
names = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,60}[a-z0-9])?", fullmatch=True)
keys = st.builds(SecretKey, st.sampled_from(Purpose), names, st.binary(min_size=32, max_size=32))


def refused(code: str) -> pytest.RaisesExc[ConfigError]:
    return pytest.raises(ConfigError, match=f"^{code} .*Next: ")


@given(keys)
def test_key_text_decodes_to_the_key(key: SecretKey) -> None:
    assert decode_key(encode_key(key), Path("k")) == key


@given(keys, st.data())
def test_key_text_with_one_character_changed_is_refused(key: SecretKey, data: st.DataObject) -> None:
    text = encode_key(key)
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda c: c != text[at]))
    with refused("KEY-04"):
        decode_key(text[:at] + other + text[at + 1 :], Path("k"))


@given(keys, st.data())
def test_key_text_cut_short_is_refused(key: SecretKey, data: st.DataObject) -> None:
    text = encode_key(key)
    with refused("KEY-04"):
        decode_key(text[: data.draw(st.integers(0, len(text) - 1))], Path("k"))


@given(st.text())
def test_any_other_text_is_refused(text: str) -> None:
    with refused("KEY-04"):
        decode_key(text, Path("k"))


@given(keys)
def test_secret_is_in_no_repr(key: SecretKey) -> None:
    assert key.seed.hex() not in repr(key)
    assert repr(key.seed) not in repr(key)


def test_created_key_is_private_and_read_back(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    made = create_key(folder, Purpose.VOTE, OWNER)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert key_path(folder, Purpose.VOTE).stat().st_mode & 0o777 == 0o600
    assert read_key(folder, Purpose.VOTE, OWNER) == made


def test_two_keys_differ(tmp_path: Path) -> None:
    one, two = (create_key(tmp_path / name, Purpose.VOTE, OWNER) for name in "ab")
    assert one.seed != two.seed


def test_existing_key_is_never_overwritten(tmp_path: Path) -> None:
    made = create_key(tmp_path / "k", Purpose.VOTE, OWNER)
    with refused("KEY-07"):
        create_key(tmp_path / "k", Purpose.VOTE, OWNER)
    assert read_key(tmp_path / "k", Purpose.VOTE, OWNER) == made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create_key(tmp_path / "keys", Purpose.VOTE, OWNER)
    return tmp_path / "keys"


def test_missing_key_is_refused(folder: Path) -> None:
    with refused("KEY-01"):
        read_key(folder, Purpose.LOG, OWNER)


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    with refused("KEY-01"):
        read_key(tmp_path / "none", Purpose.LOG, OWNER)


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660, 0o666, 0o601])
def test_key_open_to_others_is_refused(folder: Path, mode: int) -> None:
    key_path(folder, Purpose.VOTE).chmod(mode)
    with pytest.raises(ConfigError, match=r"KEY-02 .*chmod 600"):
        read_key(folder, Purpose.VOTE, OWNER)


@pytest.mark.parametrize("mode", [0o750, 0o707, 0o777])
def test_folder_open_to_others_is_refused(folder: Path, mode: int) -> None:
    folder.chmod(mode)
    with pytest.raises(ConfigError, match=r"KEY-03 .*chmod 700"):
        read_key(folder, Purpose.VOTE, OWNER)


def test_file_in_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "keys").touch()
    with refused("KEY-01"):
        check_private_folder(tmp_path / "keys")


def test_key_of_another_purpose_is_refused(folder: Path) -> None:
    key_path(folder, Purpose.VOTE).rename(key_path(folder, Purpose.LOG))
    with refused("KEY-05"):
        read_key(folder, Purpose.LOG, OWNER)


def test_key_of_another_owner_is_refused(folder: Path) -> None:
    with refused("KEY-06"):
        read_key(folder, Purpose.VOTE, "institute-fr.example")


def test_fifo_in_place_of_a_key_is_refused_and_does_not_hang(folder: Path) -> None:
    path = key_path(folder, Purpose.LOG)
    os.mkfifo(path, 0o600)
    with refused("KEY-08"):
        read_key(folder, Purpose.LOG, OWNER)


@pytest.mark.parametrize("content", [b"", b"\xff" * 10, b"x" * 10_000])
def test_garbage_in_a_key_file_is_refused(folder: Path, content: bytes) -> None:
    key_path(folder, Purpose.VOTE).write_bytes(content)
    with refused("KEY-04"):
        read_key(folder, Purpose.VOTE, OWNER)


@pytest.mark.parametrize("text", ["", "short", "two words that are long enough", "x" * 513])
def test_token_of_another_form_is_refused(text: str) -> None:
    with refused("KEY-04"):
        decode_token(text, Path("token"))


def test_token_is_read_without_its_newline(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("a" * 32 + "\n")
    path.chmod(0o600)
    assert decode_token(read_private_file(path), path) == "a" * 32
