"""Strict reading: whatever is not what every reader reads alike is refused with one line, and nothing hangs."""

from __future__ import annotations

import base64
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasslog_lab.errors import ArtifactError
from glasslog_lab.formats.reading import decode_base64, is_digest, load_json
from glasslog_lab.formats.yaml_reading import load_yaml, split_front_matter

yaml = pytest.importorskip("yaml", reason="PyYAML is in the lab extra")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "IMPORT-02"),
        (b'{"a": 1', "IMPORT-02"),
        (b'{"a": 1, "a": 2}', "IMPORT-02"),
        (b'{"a": {"b": 1, "b": 1}}', "IMPORT-02"),
        (b"\xff{}", "IMPORT-02"),
        (b"\xef\xbb\xbf{}", "IMPORT-02"),
        (b"\xff\xfe{\x00}\x00", "IMPORT-02"),
        (b"NaN", "IMPORT-02"),
        (b'{"a": -Infinity}', "IMPORT-02"),
        (b"1e999", "IMPORT-02"),
        (b"1" * 41, "IMPORT-02"),
        (b"9" * 10_000, "IMPORT-02"),
        (b'"\\ud800"', "IMPORT-02"),
        (b'{"\\ud800": 1}', "IMPORT-02"),
        (b"[" * 100 + b"]" * 100, "IMPORT-03"),
        (b"[" * 500_000, "IMPORT-03"),
        (b'{"a":' * 70 + b"1" + b"}" * 70, "IMPORT-03"),
    ],
)
def test_bad_json_is_refused_in_one_line(data: bytes, code: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        load_json(data, "x.json")
    assert caught.value.code == code
    assert str(caught.value).startswith(f"{code} x.json: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


def test_byte_order_mark_is_named() -> None:
    with pytest.raises(ArtifactError, match=r"IMPORT-02 x: begins with a byte order mark"):
        load_json(b"\xef\xbb\xbf{}", "x")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_json_is_read_as_it_is(value: object) -> None:
    assert load_json(json.dumps(value).encode(), "x") == value


@given(st.binary(max_size=80))
def test_base64_of_both_alphabets_is_read_and_nothing_else(data: bytes) -> None:
    for text in (base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode()):
        assert decode_base64(text, "x") == data
        assert decode_base64(text.rstrip("="), "x") == data


@pytest.mark.parametrize(
    "text", ["a", "====", "ab=", "ab===", "aa==bb", " YQ==", "YQ==\n", "YR==", "-_+/", "é", "YQ=a"]
)
def test_wrong_base64_is_refused(text: str) -> None:
    with pytest.raises(ArtifactError, match="IMPORT-06"):
        decode_base64(text, "x")


@given(st.text(alphabet="ABCxyz019+/-_= \n", max_size=12))
def test_two_texts_of_one_alphabet_are_never_one_value(text: str) -> None:
    try:
        data = decode_base64(text, "x")
    except ArtifactError:
        return
    forms = {base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode()}
    assert text in forms | {form.rstrip("=") for form in forms}


def test_digest_has_the_length_of_its_algorithm() -> None:
    assert is_digest("sha256", "0" * 64)
    for junk in ("0" * 63, "0" * 40, "G" * 64, "A" * 64, "https://github.com/mlcommons/croissant/issues/80", 7, None):
        assert not is_digest("sha256", junk)
    assert not is_digest("unheard-of", "0" * 64)


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [" + ",".join([f"*{chr(97 + n)}"] * 9) + "]\n" for n in range(8)
)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (BOMB, "IMPORT-14"),
        ("a: &x 1", "IMPORT-14"),
        ("a: !!python/object/apply:os.system ['true']", "IMPORT-14"),
        ("a: !!binary aGk=", "IMPORT-14"),
        ("!custom {a: 1}", "IMPORT-14"),
        ("a: {<<: {b: 1}}", "IMPORT-14"),
        ("? [a, b]\n: 1", "IMPORT-14"),
        ("a: 1\na: 2", "IMPORT-02"),
        ("a: 1\n---\nb: 2", "IMPORT-02"),
        ("a: [1", "IMPORT-02"),
        ("a: 1.0e+9999", "IMPORT-02"),
        (f"a: {'1' * 41}", "IMPORT-02"),
        ("a: 1\n'a': 2", "IMPORT-02"),
        ("%TAG ! tag:yaml.org,2002:\n---\na: !python/name:os.system x", "IMPORT-14"),
        ("a: \x07", "IMPORT-02"),
        ("a:\tb\n\tc", "IMPORT-02"),
        ("- " * 70 + "x", "IMPORT-03"),
        ("[" * 3000, "IMPORT-03"),
        ("{a: " * 5000, "IMPORT-03"),
    ],
)
def test_hostile_yaml_is_refused(text: str, code: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        load_yaml(text.encode(), "README.md")
    assert caught.value.code == code
    assert "\n" not in str(caught.value)


def test_yaml_reads_what_its_versions_agree_on_and_keeps_the_rest_as_text() -> None:
    text = "n: 12\nf: 1.5\ne: 1.0e-7\nt: true\nz: ~\nempty:\nq: '12'\n"
    assert load_yaml(text.encode(), "x") == {
        "n": 12, "f": 1.5, "e": 1e-7, "t": True, "z": None, "empty": None, "q": "12",
    }  # fmt: skip
    for kept in (
        "no",
        "on",
        "2025-01-01",
        "1.2.3",
        "1e3",
        "12345e67",
        "010",
        "0x10",
        "0o7",
        "1_000",
        "1:30",
        ".nan",
        "=",
    ):
        assert load_yaml(f"a: {kept}\n{kept}: b\n".encode(), "x") == {"a": kept, kept: "b"}
    assert load_yaml(b"1: a\ntrue: b\n~: c\n", "x") == {"1": "a", "true": "b", "~": "c"}


def test_long_yaml_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(ArtifactError, match="IMPORT-03"):
        load_yaml(b"a: b\n" * 300_000, "x")


@given(JSON)
def test_json_is_yaml(value: object) -> None:
    """But for exponents without a dot or a sign and what YAML cannot write, JSON reads the same as YAML."""
    text = json.dumps(value)
    if re.search(r"(?<!\.)\b[0-9]+e|[0-9]\.[0-9]+e[0-9]", text):
        return
    try:
        read = load_yaml(text.encode(), "x")
    except ArtifactError:  # long keys, control characters, a key `<<`: refused, not read otherwise
        return
    assert read == load_json(text.encode(), "x")


def test_front_matter_is_cut_at_its_end() -> None:
    assert split_front_matter(b"---\na: 1\n---\n# T\n---\n", "x") == (b"a: 1\n", b"# T\n---\n")
    assert split_front_matter(b"\xef\xbb\xbf---\r\na: 1\r\n---\r\nT", "x") == (b"a: 1\n", b"T")
    assert split_front_matter(b"# no front matter", "x") == (b"", b"# no front matter")
    with pytest.raises(ArtifactError, match="IMPORT-02"):
        split_front_matter(b"---\na: 1\n", "x")


def test_stranger_s_bytes_cannot_write_to_a_terminal() -> None:
    with pytest.raises(ArtifactError) as caught:
        load_json(b'{"\\u001b[2J\\n": 1, "\\u001b[2J\\n": 2}', "name\x1b[31m\n.json")
    assert str(caught.value).isprintable()
