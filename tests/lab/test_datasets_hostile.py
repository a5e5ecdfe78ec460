"""Every malformed or hostile data set is refused with one line that says what and where."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import sys
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glasslog.records import record_digest
from glasslog_lab.datasets import canonical_json, measure, rows, sources
from glasslog_lab.datasets.canonical_json import JsonError, canonicalize
from glasslog_lab.datasets.measure import Options, measure_dataset
from glasslog_lab.datasets.sorting import KeySorter
from glasslog_lab.datasets.sources import Expanded, list_sources, split_compression
from glasslog_lab.datasets.tar import TarReader, read_members, read_samples
from glasslog_lab.errors import ArtifactError


def refuse(path: Path, **options: Any) -> str:
    index = path.parent / "index-of-it"
    with pytest.raises(ArtifactError) as caught:
        measure_dataset(path, index, options=Options(**options))
    assert "\n" not in str(caught.value)
    assert ". Next: " in str(caught.value)
    assert not list(path.parent.glob("index-of-it*")), "a refusal leaves no index"
    return str(caught.value)


def refuse_bytes(folder: Path, name: str, data: bytes, **options: Any) -> str:
    (folder / name).write_bytes(data)
    return refuse(folder / name, **options)


# --- canonical JSON -------------------------------------------------------------------------------


# From the test data of RFC 8785's author, in its order.
FRENCH = (
    '{"peach":"This sorting order","péché":"is wrong according to French","pêche":"but canonicalization MUST",'
    '"sin":"ignore locale"}'
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (' { "b" : [ 1 , 2 ] , "a" : null } ', '{"a":null,"b":[1,2]}'),
        ("1.0", "1"), ("-0", "0"), ("-0.0", "0"), ("1e2", "100"), ("1.5e300", "1.5e+300"), ("1e21", "1e+21"),
        ("1e20", "100000000000000000000"), ("1e16", "10000000000000000"), ("0.00001", "0.00001"), ("1e-6", "0.000001"),
        ("1e-7", "1e-7"), ("1.25E-9", "1.25e-9"), ("5e-324", "5e-324"),
        ("1.7976931348623157e308", "1.7976931348623157e+308"),
        ("123456789012345680000.0", "123456789012345680000"), ("0.1", "0.1"), ("4.50", "4.5"),
        ("333333333.33333329", "333333333.3333333"),
        ("9007199254740993", "9007199254740993"), ("18446744073709551615", "18446744073709551615"),
        ("-9223372036854775808", "-9223372036854775808"), ("100000000000000000000", "100000000000000000000"),
        ('"\\u00e9\\/\\u0000\\u001f\\t\\u007f"', '"é/\\u0000\\u001f\\t\x7f"'),
        ('"\\ud83d\\ude00"', '"\U0001f600"'),
        ('{"\\ud83d\\ude00":1,"\\uffff":2,"a":3}', '{"a":3,"\U0001f600":1,"\uffff":2}'),
        (FRENCH, FRENCH),
        ("[]", "[]"), ("{}", "{}"), ("true", "true"), ('{"a":[1e30,{"b":{},"c":[]}]}', '{"a":[1e+30,{"b":{},"c":[]}]}'),
    ],
)  # fmt: skip
def test_json_has_one_form(text: str, expected: str) -> None:
    assert canonicalize(text.encode()).decode() == expected
    assert canonicalize(expected.encode()).decode() == expected


def test_sample_of_rfc_8785() -> None:
    """RFC 8785, 3.2.2 and 3.2.3: the document and its canonical bytes."""
    text = (
        r'{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],'
        r'"string":"\u20ac$\u000F\u000aA'
        r"'\u0042\u0022\u005c\\\"\/"
        r'","literals":[null,true,false]}'
    )
    expected = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
    assert canonicalize(text.encode()).decode() == expected


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=20,
)  # fmt: skip


@given(json_values)
def test_canonical_json_is_stable_and_means_the_same(value: Any) -> None:
    once = canonicalize(json.dumps(value).encode())
    assert canonicalize(once) == once
    assert canonicalize(json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True).encode()) == once
    assert means_the_same(json.loads(once), value)


def means_the_same(one: Any, other: Any) -> bool:
    """Whether two values are one to who reads numbers with a fraction or an exponent as doubles."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(means_the_same(item, other[name]) for name, item in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(means_the_same, one, other))
    if isinstance(one, float) or isinstance(other, float):
        return float(one) == float(other)
    return type(one) is type(other) and one == other


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "DATA-14"), (b"{", "DATA-14"), (b"{} {}", "DATA-14"), (b"{'a':1}", "DATA-14"), (b'"\t"', "DATA-14"),
        (b'{"a":1,"a":1}', "DATA-14"), (b'[{"a":{"b":1,"b":2}}]', "DATA-14"), (b'"\\ud800"', "DATA-14"),
        (b'{"\\udc00":1}', "DATA-14"), (b"\xef\xbb\xbf{}", "DATA-14"),
        (b"NaN", "DATA-15"), (b"[-Infinity]", "DATA-15"), (b"1e999", "DATA-15"), (b"1e-999", "DATA-15"),
        (b"18446744073709551616", "DATA-15"), (b"-9223372036854775809", "DATA-15"), (b"9" * 5000, "DATA-15"),
        (b"1000000000000000000000", "DATA-15"),
        (b"[" * 129 + b"]" * 129, "DATA-16"), (b"[" * 100_000, "DATA-16"),
        (b'{"a":' * 129 + b"1" + b"}" * 129, "DATA-16"),
        (b"[" + b"1," * 1_000_001 + b"1]", "DATA-16"),
        (b'"\xff"', "DATA-17"), (b'"\xed\xa0\x80"', "DATA-17"),
    ],
)  # fmt: skip
def test_json_that_has_no_form_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(JsonError) as caught:
        canonicalize(data)
    assert caught.value.code == code


def test_depth_allowed_is_the_same_however_deep_the_caller_stands() -> None:
    data = b"[" * canonical_json.DEPTH_MAX + b"]" * canonical_json.DEPTH_MAX

    def stand(depth: int) -> bytes:
        return canonicalize(data) if not depth else stand(depth - 1)

    assert stand(sys.getrecursionlimit() // 3) == data


# --- lines ----------------------------------------------------------------------------------------


def test_line_of_the_fault_is_named(tmp_path: Path) -> None:
    said = refuse_bytes(tmp_path, "a.jsonl", b'{"a":1}\n\n{"a":NaN}\n')
    assert said.startswith("DATA-15 'a.jsonl' line 3 holds NaN, which JSON has not. Next: ")


@pytest.mark.parametrize(
    ("name", "data", "options", "code"),
    [
        ("a.jsonl", b'{"a":1}\n{"a":', {}, "DATA-14"),
        ("a.jsonl", b'{"a":1}\n\xff\xfe', {}, "DATA-17"),
        ("a.jsonl", b'{"a":1}\n{"b":1}', {"field": "a"}, "DATA-27"),
        ("a.jsonl", b"[1]", {"field": "a"}, "DATA-27"),
        ("a.jsonl", b'{"a":"\\ud800"}', {"field": "a"}, "DATA-14"),
        ("a.jsonl", b"x", {"field": "a", "format": "lines"}, "DATA-27"),
        ("a.csv", b"", {}, "DATA-18"),
        ("a.csv", b"\n\n", {}, "DATA-18"),
        ("a.csv", b"a,b\n1,2\n1\n", {}, "DATA-18"),
        ("a.csv", b"a,b\n1,2,3\n", {}, "DATA-18"),
        ("a.csv", b"a,a\n1,2\n", {}, "DATA-18"),
        ("a.csv", b"a,\n1,2\n", {}, "DATA-18"),
        ("a.csv", b"a,b\n1,\x00\n", {}, "DATA-18"),
        ("a.csv", b'a,b\n1,"2\n', {}, "DATA-18"),
        ("a.csv", b'a,b\n1,"2"x\n', {}, "DATA-18"),
        ("a.csv", b"a,b\r1,2\r3,4\r", {}, "DATA-18"),
        ("a.csv", b"a,b\n1,\xe9\n", {}, "DATA-17"),
        ("a.csv", b"a,b\n1,2\n", {"field": "c"}, "DATA-27"),
        ("a.tar", b"x", {"field": "c"}, "DATA-27"),
        ("a.jsonl.gz", b"", {}, "DATA-20"),
        ("a.jsonl.gz", b"{}", {}, "DATA-20"),
        ("a.jsonl.gz", gzip.compress(b"{}\n" * 999, mtime=0)[:-9], {}, "DATA-20"),
        ("a.jsonl.gz", gzip.compress(b"{}\n", mtime=0) + b"junk", {}, "DATA-20"),
        ("a.jsonl.gz", gzip.compress(b"{}\n", mtime=0)[:-8] + bytes(8), {}, "DATA-20"),
        ("a.bin", b"x", {"format": "parquet"}, ("EXTRA-01", "DATA-23")),
    ],
)
def test_malformed_text_and_streams_are_refused(
    tmp_path: Path, name: str, data: bytes, options: dict[str, Any], code: str | tuple[str, ...]
) -> None:
    assert refuse_bytes(tmp_path, name, data, **options).startswith(code)


@pytest.mark.parametrize("data", [b"x" * 3_000, b"{}\n" + b"x" * 3_000, b"x" * 3_000 + b"\n{}"])
def test_giant_lines_are_refused_without_holding_them(
    tmp_path: Path, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "RECORD_BYTES_MAX", 2_000)
    assert refuse_bytes(tmp_path, "a.jsonl", data).startswith("DATA-16")
    assert refuse_bytes(tmp_path, "b.csv", b"a\n" + data).startswith("DATA-16")
    assert refuse_bytes(tmp_path, "c.csv", b'a\n"' + b"x\n" * 1_500 + b'"\n').startswith("DATA-16")


def test_gzip_bomb_is_refused_before_it_has_gone_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "EXPANSION_FREE_BYTES", 1 << 20)
    bomb = gzip.compress((b'{"a":"' + b"x" * 990 + b'"}\n') * 48_000)
    (tmp_path / "a.jsonl.gz").write_bytes(bomb)
    tracemalloc.start()
    said = refuse(tmp_path / "a.jsonl.gz")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert said.startswith("DATA-21 'a.jsonl.gz' expands to more than 200 times its size")
    assert peak < 24 << 20
    allowed = gzip.compress(b'{"a":"' + b"x" * (2 << 20) + b'"}')
    (tmp_path / "b.jsonl.gz").write_bytes(allowed)
    assert refuse(tmp_path / "b.jsonl.gz").startswith("DATA-21")
    assert measure_dataset(tmp_path / "b.jsonl.gz", tmp_path / "i", options=Options(expansion_max=2_000)).records == 1


def test_compressions_are_told_by_suffix() -> None:
    assert split_compression("a.jsonl.GZ") == ("a.jsonl", ".gz")
    assert split_compression("a.TGZ") == ("a.tar", ".gz")
    assert split_compression("a.jsonl.zst") == ("a.jsonl", ".zst")
    assert split_compression("a.gzip") == ("a.gzip", "")


def test_zstandard_is_asked_for_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    assert "EXTRA-01 'a.jsonl.zst' needs the Python package zstandard" in refuse_bytes(tmp_path, "a.jsonl.zst", b"x")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "EXTRA-01 'a.parquet' needs the Python package pyarrow" in refuse_bytes(tmp_path, "a.parquet", b"x")


# --- archives -------------------------------------------------------------------------------------


def tar_of(*members: tarfile.TarInfo | tuple[str, bytes], form: int = tarfile.GNU_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return stream.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def pax(name: str, **headers: str) -> bytes:
    info = tarfile.TarInfo(name)
    info.pax_headers = headers
    return tar_of(info, form=tarfile.PAX_FORMAT)


def resum(header: bytes) -> bytes:
    plain = header[:148] + b" " * 8 + header[156:512]
    return header[:148] + f"{sum(plain):06o}\0 ".encode() + header[156:]


PLAIN = tar_of(("a.txt", b"content"))


@pytest.mark.parametrize(
    ("data", "fact"),
    [
        (tar_of(special("l", tarfile.SYMTYPE, "/etc/passwd")), "a symbolic link"),
        (tar_of(special("l", tarfile.LNKTYPE, "a")), "a hard link"),
        (tar_of(special("l", tarfile.SYMTYPE, "x" * 300)), "a symbolic link"),
        (tar_of(special("d", tarfile.CHRTYPE)), "a device"),
        (tar_of(special("d", tarfile.BLKTYPE)), "a device"),
        (tar_of(special("d", tarfile.FIFOTYPE)), "a pipe"),
        (tar_of(special("s", tarfile.GNUTYPE_SPARSE)), "a sparse file"),
        (tar_of(special("x", b"Z")), "of the unknown kind"),
        (pax("s", **{"GNU.sparse.major": "1"}), "a sparse file"),
        (tar_of(("/etc/x", b"")), "leads out of it"),
        (tar_of(("a/../../x", b"")), "leads out of it"),
        (tar_of(("a\nb", b"")), "leads out of it"),
        (pax("a", path="../x"), "leads out of it"),
        (pax("a", size="x"), "impossible size"),
        (pax("x" * 5_000), "a name of 5000 bytes"),
        (tar_of(("x" * 5_000, b"")), "a name of 5000 bytes"),
        (tar_of(("a.x", b""), ("a.y", b""), ("a.x", b"")), "twice in one sample"),
        (PLAIN[:1023], "ends inside a file"),
        (PLAIN[:700], "ends inside a file"),
        (PLAIN[:1024], "without the mark of its end"),
        (PLAIN[:100], "without the mark of its end"),
        (b"", "without the mark of its end"),
        (PLAIN + b"more", "goes on after its end"),
        (PLAIN + PLAIN, "goes on after its end"),
        (b"x" * 1024, "not a tar archive"),
        (PLAIN[:3] + b"X" + PLAIN[4:], "a header's sum is wrong"),
        (resum(PLAIN[:124] + b"9" * 12 + PLAIN[136:]), "number is none"),
        (resum(PLAIN[:124] + b"\xff" * 12 + PLAIN[136:]), "impossible size"),
        (resum(PLAIN[:124] + b"77777777777\0" + PLAIN[136:]), "ends inside a file"),
        (resum(PLAIN[:124] + b"77777777777\0" + PLAIN[136:156] + b"x" + PLAIN[157:]), "has a header of"),
        (resum(PLAIN[:124] + b"77777777777\0" + PLAIN[136:156] + b"L" + PLAIN[157:]), "has a header of"),
        (resum(PLAIN[:156] + b"x" + PLAIN[157:]), "malformed extended header"),
        (resum(PLAIN[:156] + b"5" + PLAIN[157:]), "gives the folder"),
        (resum(b"\xff" + PLAIN[1:]), "not UTF-8"),
    ],
)  # fmt: skip
def test_hostile_archives_are_refused(tmp_path: Path, data: bytes, fact: str) -> None:
    said = refuse_bytes(tmp_path, "a.tar", data)
    assert said.startswith("DATA-19 'a.tar' ")
    assert fact in said


def test_globals_may_comment_but_not_name(tmp_path: Path) -> None:
    for headers, fine in (({"comment": "x"}, True), ({"path": "x"}, False), ({"size": "1"}, False)):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT, pax_headers=headers) as archive:
            archive.addfile(tarfile.TarInfo("a.txt"))
        (tmp_path / "a.tar").write_bytes(stream.getvalue())
        if fine:
            assert measure_dataset(tmp_path / "a.tar", tmp_path / "i").records == 1
            (tmp_path / "i").unlink()
        else:
            assert "at once" in refuse(tmp_path / "a.tar")


def test_too_many_parts_are_no_sample(tmp_path: Path) -> None:
    data = tar_of(*[(f"a.{number}", b"") for number in range(4_097)])
    assert "more than 4096 parts" in refuse_bytes(tmp_path, "a.tar", data)


names = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters="/\x7f"), min_size=1, max_size=150
)


@settings(max_examples=80)
@given(
    st.lists(
        st.tuples(names.filter(lambda n: n not in {".", ".."} and n.isprintable()), st.binary(max_size=1300)),
        max_size=6,
    ),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    st.integers(0, 1 << 32),
)
def test_archives_are_read_as_the_standard_library_reads_them(
    members: list[tuple[str, bytes]], form: int, seed: int
) -> None:
    rng = random.Random(seed)
    data = tar_of(*members, form=form)

    def chunks() -> Any:
        at = 0
        while at < len(data):
            size = rng.randrange(1, 2_000)
            yield data[at : at + size]
            at += size

    reader = TarReader("x", Expanded(chunks()))
    found = list[tuple[str, bytes]]()
    for member in reader.members():
        content = b""
        while part := reader.read(rng.randrange(1, 700)):
            content += part
        assert len(content) == member.size
        found.append((member.name, content))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        expected = [(one.name, (archive.extractfile(one) or io.BytesIO()).read()) for one in archive]
    assert found == expected
    digests = [one for listed in read_members("x", Expanded(iter([data]))) for one in listed]
    assert digests == [record_digest("bytes", content) for _, content in members]


@pytest.mark.parametrize("reader", [read_members, read_samples])
def test_member_of_any_size_is_read_in_pieces(reader: Callable[..., Any]) -> None:
    header = tar_of(("big.bin", b""))[:512]
    size = 64 << 20
    head = resum(header[:124] + f"{size:011o}\0".encode() + header[136:])
    chunk = bytes(1 << 20)

    def chunks() -> Any:
        yield head
        for _ in range(64):
            yield chunk
        yield bytes(1024)

    tracemalloc.start()
    assert len([one for listed in reader("x", Expanded(chunks())) for one in listed]) == 1
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12 << 20


# --- places ---------------------------------------------------------------------------------------


def test_links_out_and_special_files_are_refused_and_links_within_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a.txt").write_text("x")
    (folder / "b.txt").symlink_to("sub/a.txt")
    measured = measure_dataset(folder, tmp_path / "i")
    assert (measured.records, measured.distinct) == (2, 1)
    (tmp_path / "secret.txt").write_text("s")
    for make, fact in (
        (lambda place: place.symlink_to("../secret.txt"), "a link out of the folder"),
        (lambda place: place.symlink_to("/etc"), "a link out of the folder"),
        (lambda place: place.symlink_to("sub"), "a link to a folder"),
        (os.mkfifo, "neither a file nor a folder"),
    ):
        make(folder / "odd")
        said = refuse(folder)
        assert said.startswith("DATA-11")
        assert fact in said
        (folder / "odd").unlink()
    for target, fact in (("gone", "cannot be read"), ("loop", "cannot be read")):
        (folder / "loop").symlink_to(target)
        assert fact in refuse(folder)
        (folder / "loop").unlink()


def test_what_is_not_there_or_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert refuse(tmp_path / "absent").startswith("DATA-10")
    assert refuse(tmp_path / "empty").startswith("DATA-10")
    (tmp_path / "empty" / os.fsdecode(b"\xff")).touch()
    assert refuse(tmp_path / "empty").startswith("DATA-10 the file name")


def test_mixture_of_containers_and_other_files_asks_what_is_meant(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a.jsonl").write_text("{}\n")
    (folder / "README").write_text("x")
    assert "DATA-13 'README' is no container" in refuse(folder)
    measured = measure_dataset(folder, tmp_path / "i", options=Options(format="json"))
    assert [(file.name, file.records) for file in measured.files] == [("README", None), ("a.jsonl", 1)]
    assert measure_dataset(folder, tmp_path / "i", options=Options(format="files")).records == 2
    (tmp_path / "i").unlink()
    assert "none of the 2 files ends in .csv" in refuse(folder, format="csv")


def test_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(bytes(5 << 20))
    told = list[int]()

    def append(count: int) -> None:
        if not told:
            with path.open("ab") as stream:
                stream.write(b"more")
        told.append(count)

    with pytest.raises(ArtifactError, match=r"DATA-12 'a\.txt' changed while it was read"):
        measure_dataset(path, tmp_path / "i", on_read=append)
    assert not list(tmp_path.glob("i*"))


def test_file_replaced_by_a_link_or_a_pipe_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    replacements: tuple[Callable[[], None], ...] = (lambda: path.symlink_to("/etc/passwd"), lambda: os.mkfifo(path))
    for replace in replacements:
        path.write_text("x")
        listed = list_sources(path)
        path.unlink()
        replace()
        monkeypatch.setattr(measure, "list_sources", lambda _path, listed=listed: listed)
        assert refuse(path).startswith(("DATA-10", "DATA-12"))
        path.unlink()


def test_no_room_for_the_index_or_for_temporary_files_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("x\n" * 10)
    with pytest.raises(ArtifactError, match=r"DATA-29 .* cannot be written: No such file"):
        measure_dataset(tmp_path / "a.txt", tmp_path / "absent" / "index")
    monkeypatch.setattr(measure, "KeySorter", lambda tmp: KeySorter(tmp, run_keys=2))
    said = refuse(tmp_path / "a.txt", tmp=tmp_path / "absent", format="lines")
    assert "DATA-29 a temporary file cannot be written" in said


@given(st.binary(max_size=300), st.sampled_from(["a.jsonl", "a.csv", "a.tar", "a.jsonl.gz", "a.tgz"]))
def test_any_bytes_are_records_or_refused_by_code(data: bytes, name: str) -> None:
    plain, compression = split_compression(name)
    form = {"jsonl": "json", "csv": "csv", "tar": "samples"}[plain.rpartition(".")[2]]

    class Memory:
        size = len(data)
        left = data

        def read(self, size: int = 1 << 20) -> bytes:
            found, self.left = self.left[:7], self.left[7:]
            return found

    stream = sources.expand(name, compression, Memory(), 200)  # type: ignore[arg-type]  # as a Reading, in memory
    try:
        for digests in measure._TEXT[form](name, stream, None):  # type: ignore[index]  # one of them
            assert all(len(digest) == 32 for digest in digests)
    except ArtifactError as error:
        assert error.code.startswith("DATA-")  # noqa: PT017  either is fine: refused by its code, or read


def test_an_index_takes_no_devices_place(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ArtifactError, match=r"^DATA-29 .* is no file"):
        measure_dataset(tmp_path / "a.txt", tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo()
