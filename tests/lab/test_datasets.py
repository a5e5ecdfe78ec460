"""From a folder, a file or a description to roots and proofs: what records are, and that one is in or out."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import tarfile
from collections import Counter
from decimal import Decimal
from hashlib import md5, sha256
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from glasslog import merkle
from glasslog.records import (
    Blinding,
    Exclusion,
    Inclusion,
    fold,
    hash_entry,
    order_root,
    record_digest,
    records_root,
    sample_content,
    verify_proof,
)
from glasslog_lab.cli.datasets import attest_dataset, prove_record, verify_record
from glasslog_lab.datasets.croissant import Checked
from glasslog_lab.datasets.facts import read_croissant_facts, size_band
from glasslog_lab.datasets.index import Index
from glasslog_lab.datasets.measure import DatasetMeasured, Options, measure_dataset, open_blinding
from glasslog_lab.datasets.sorting import KeySorter
from glasslog_lab.errors import ArtifactError

ROWS: list[dict[str, Any]] = [{"id": number, "text": f"row {number} é"} for number in range(700)]


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_tar(path: Path, members: dict[str, bytes], form: int = tarfile.USTAR_FORMAT) -> Path:
    with tarfile.open(path, "w", format=form) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def folder_of(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def measure(path: Path, **options: Any) -> DatasetMeasured:
    blinding = options.pop("blinding", None)
    croissant = options.pop("croissant", None)
    index = folder_of(path).parent / "x.index"
    return measure_dataset(path, index, options=Options(**options), blinding=blinding, croissant=croissant)


def refuse(path: Path, **options: Any) -> ArtifactError:
    with pytest.raises(ArtifactError) as caught:
        measure(path, **options)
    assert "\n" not in str(caught.value)
    left = [one.name for one in folder_of(path).parent.iterdir() if one.name.startswith("x.index")]
    assert left == [], "a refusal leaves no index"
    return caught.value


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


# --- what a record is -----------------------------------------------------------------------------


def test_roots_are_those_of_the_specification(data: Path) -> None:
    write_jsonl(data / "a.jsonl", [{"b": 1.0, "a": "x"}, {"a": "y"}])
    write_jsonl(data / "b.jsonl", [{"a": "x", "b": 1}])
    measured = measure(data)
    order = [record_digest("json", text) for text in (b'{"a":"x","b":1}', b'{"a":"y"}', b'{"a":"x","b":1}')]
    entries = [(key, hash_entry(key, count)) for key, count in sorted(Counter(order).items())]
    assert measured.records_root == records_root(None, 2, 3, fold(entries))
    assert measured.order_root == order_root(None, 3, merkle.root(merkle.hash_leaves(order)))
    assert (measured.records, measured.distinct, measured.record_form) == (3, 2, "jsonl:json")
    assert [(file.name, file.records) for file in measured.files] == [("a.jsonl", 2), ("b.jsonl", 1)]
    assert measured.files[0].sha256 == sha256((data / "a.jsonl").read_bytes()).digest()


def test_records_are_the_same_in_other_containers_order_and_files(data: Path) -> None:
    rows = [{"id": str(row["id"]), "text": row["text"]} for row in ROWS]
    root = measure(write_jsonl(data / "one.jsonl", rows)).records_root
    shuffled = rows[:]
    random.Random(1).shuffle(shuffled)
    other = write_jsonl(data / "two.jsonl", shuffled)
    assert measure(other).records_root == root
    assert measure(other).order_root != measure(data / "one.jsonl").order_root
    (data / "three.jsonl.gz").write_bytes(gzip.compress((data / "one.jsonl").read_bytes()))
    assert measure(data / "three.jsonl.gz").records_root == root
    assert measure(data / "three.jsonl.gz").order_root == measure(data / "one.jsonl").order_root
    for name, delimiter in (("four.csv", ","), ("five.tsv", "\t")):
        with (data / name).open("w", newline="") as stream:
            writer = csv.DictWriter(stream, ["text", "id"], delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)
        assert measure(data / name).records_root == root
    (data / "parts").mkdir()
    for part in range(3):
        write_jsonl(data / "parts" / f"{part}.jsonl", rows[part::3])
    assert measure_dataset(data / "parts", data / "index").records_root == root


def test_line_records_keep_their_bytes_and_json_records_do_not(data: Path) -> None:
    for name, text in (("a", b'{"a": 1}\n'), ("b", b'{"a":1.0}\r\n\n'), ("c", b'\xef\xbb\xbf  {"a":1e0}')):
        (data / f"{name}.jsonl").write_bytes(text)
    roots = {measure(data / f"{name}.jsonl").records_root for name in "abc"}
    lines = {measure(data / f"{name}.jsonl", format="lines").records_root for name in "abc"}
    assert (len(roots), len(lines)) == (1, 3)


def test_file_member_and_field_records_of_the_same_bytes_are_one_record(data: Path) -> None:
    (data / "files").mkdir()
    for number in range(5):
        (data / "files" / f"{number}.txt").write_text(f"text {number}")
    root = measure_dataset(data / "files", data / "index").records_root
    write_tar(data / "a.tar", {f"{number}.txt": f"text {number}".encode() for number in reversed(range(5))})
    assert measure(data / "a.tar", format="members").records_root == root
    write_jsonl(data / "a.jsonl", [{"text": f"text {number}", "n": number} for number in range(5)])
    assert measure(data / "a.jsonl", field="text").records_root == root
    (data / "a.csv").write_text("text\n" + "".join(f"text {number}\n" for number in range(5)))
    assert measure(data / "a.csv", field="text").records_root == root
    assert measure(data / "a.tar").records_root != root, "samples"


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("compressed", [False, True])
def test_samples_are_neighbours_of_one_key(data: Path, form: int, *, compressed: bool) -> None:
    long = "folder/" + "x" * 60 + "é/" * 30 + "0001"
    members = {"./a/0000.jpg": b"\xff\xd8", "a/0000.cls": b"3", "a/0000.seg.png": b"p", "readme": b"r"}
    if form != tarfile.USTAR_FORMAT:
        members |= {f"{long}.txt": b"x" * 1500}
    path = write_tar(data / "s.tar", members, form)
    if compressed:
        path = data / "s.tgz"
        path.write_bytes(gzip.compress((data / "s.tar").read_bytes()))
    measured = measure(path)
    part = {name: record_digest("bytes", content) for name, content in members.items()}
    first = {"jpg": part["./a/0000.jpg"], "cls": part["a/0000.cls"], "seg.png": part["a/0000.seg.png"]}
    samples = [first, {"": part["readme"]}]
    if form != tarfile.USTAR_FORMAT:
        samples.append({"txt": part[f"{long}.txt"]})
    expected = [record_digest("sample", sample_content(sample)) for sample in samples]
    with Index(data.parent / "x.index") as index:
        assert index.keys(0, 9) == expected
    assert measured.record_form == "tar:sample"


def test_several_gzip_members_are_one_file(data: Path) -> None:
    lines = [json.dumps(row).encode() + b"\n" for row in ROWS]
    (data / "a.jsonl.gz").write_bytes(
        gzip.compress(b"".join(lines[:300])) + gzip.compress(b"".join(lines[300:])) + bytes(9)
    )
    assert measure(data / "a.jsonl.gz").records == 700


# --- proofs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("blinded", [False, True])
@pytest.mark.parametrize("count", [0, 1, 5, 700])
def test_records_are_proved_in_and_out_from_the_index(data: Path, count: int, *, blinded: bool) -> None:
    path = write_jsonl(data / "a.jsonl", ROWS[:count] + ROWS[:2][:count])
    blinding = open_blinding(data / "secret", create=True) if blinded else None
    measured = measure(path, blinding=blinding)
    assert measured.blinded == blinded
    digests = [record_digest("json", json.dumps(r, ensure_ascii=False, separators=(",", ":")).encode()) for r in ROWS]
    with Index(data.parent / "x.index") as index:
        for place in range(0, len(ROWS), 37):
            proof = index.prove(digests[place], blinding)
            assert isinstance(proof, Inclusion if place < count else Exclusion)
            if isinstance(proof, Inclusion):
                assert proof.count == (2 if place < 2 else 1)
                assert measured.order_root is not None
                verify_proof(index.prove_place(place, digests[place], blinding), digests[place], measured.order_root)
            verify_proof(proof, digests[place], measured.records_root)


def test_index_of_many_keys_proves_each_place_it_is_asked(data: Path) -> None:
    path = data / "a.txt"
    path.write_text("".join(f"{number}\n" for number in range(5_000)))
    measured = measure(path, format="lines")
    digests = [record_digest("bytes", str(number).encode()) for number in range(5_200)]
    with Index(data.parent / "x.index") as index:
        assert index.roots.bits > 3
        assert measured.order_root is not None
        for place in (0, 1, 255, 256, 4095, 4096, 4863, 4864, 4999):
            verify_proof(index.prove_place(place, digests[place], None), digests[place], measured.order_root)
        for place in range(0, 5_200, 13):
            verify_proof(index.prove(digests[place], None), digests[place], measured.records_root)


def test_secret_is_made_once_and_needed_for_proofs(data: Path) -> None:
    blinding = open_blinding(data / "secret", create=True)
    assert open_blinding(data / "secret", create=True).secret == blinding.secret
    measure(write_jsonl(data / "a.jsonl", ROWS), blinding=blinding)
    digest = record_digest("json", b"{}")
    with Index(data.parent / "x.index") as index:
        for wrong in (None, Blinding(bytes(32))):
            with pytest.raises(ArtifactError, match=r"DATA-30 .* was measured with another secret"):
                index.prove(digest, wrong)
    (data / "secret").chmod(0o644)
    with pytest.raises(ArtifactError, match=r"DATA-30 .* can be read by others"):
        open_blinding(data / "secret")
    (data / "short").write_text("00")
    (data / "short").chmod(0o600)
    for name in ("short", "absent"):
        with pytest.raises(ArtifactError, match="DATA-30"):
            open_blinding(data / name)


def test_damaged_index_is_refused_and_never_proves_falsely(data: Path) -> None:
    measured = measure(write_jsonl(data / "a.jsonl", ROWS[:300]))
    index = data.parent / "x.index"
    whole = index.read_bytes()
    digest = record_digest("json", b'{"id":7,"text":"row 7 \xc3\xa9"}')
    rng = random.Random(7)
    for _ in range(150):
        changed = bytearray(whole)
        changed[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        index.write_bytes(changed[: rng.choice([len(whole), rng.randrange(len(whole))])])
        try:
            with Index(index) as opened:
                if opened.roots.records != measured.records_root:
                    continue  # nobody trusts it
                proof = opened.prove(digest, None)
        except ArtifactError as error:
            assert error.code == "DATA-26"  # noqa: PT017  either is fine: refused, or untouched by the damage
            continue
        assert isinstance(proof, Inclusion)
        verify_proof(proof, digest, measured.records_root)


def test_other_record_or_place_is_no_placement(data: Path) -> None:
    measure(write_jsonl(data / "a.jsonl", ROWS[:3]))
    digest = record_digest("json", b"{}")
    with Index(data.parent / "x.index") as index:
        for place in (0, 3, -1):
            with pytest.raises(ArtifactError, match="DATA-26"):
                index.prove_place(place, digest, None)
    measure(data / "a.jsonl", order=False)
    with Index(data.parent / "x.index") as index, pytest.raises(ArtifactError, match="without the order"):
        index.prove_place(0, digest, None)


@settings(max_examples=60)
@given(st.lists(st.integers(0, 60), max_size=300), st.integers(1, 40))
def test_sorting_in_runs_gives_every_key_once_with_its_count(numbers: list[int], run: int) -> None:
    keys = [sha256(bytes((number,))).digest() if number % 2 else bytes((0, number)) * 16 for number in numbers]
    sorter = KeySorter(None, run_keys=run)
    for at in range(0, len(keys), 7):
        sorter.add(keys[at : at + 7])
    entries = [(entry[:32], int.from_bytes(entry[32:], "big")) for batch in sorter.entries() for entry in batch]
    assert entries == sorted(Counter(keys).items())


def test_runs_are_merged_in_several_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glasslog_lab.datasets.sorting.RUNS_MAX", 3)
    monkeypatch.setattr("glasslog_lab.datasets.sorting._BUFFER_ENTRIES", 1)
    keys = [sha256(str(number % 9_000).encode()).digest() for number in range(20_000)]
    sorter = KeySorter(None, run_keys=500)
    for at in range(0, len(keys), 100):
        sorter.add(keys[at : at + 100])
    entries = [entry for batch in sorter.entries() for entry in batch]
    assert entries == [key + count.to_bytes(8, "big") for key, count in sorted(Counter(keys).items())]


# --- descriptions ---------------------------------------------------------------------------------


def describe(data: Path, distribution: list[dict[str, Any]], **more: Any) -> Path:
    path = data / "croissant.json"
    body = {
        "@context": {"@vocab": "https://schema.org/", "cr": "http://mlcommons.org/croissant/"},
        "@type": "sc:Dataset",
        "name": "rows",
        "license": ["Apache-2.0", "https://example.org/terms"],
        "citeAs": "@misc{rows}",
        "creator": {"@type": "sc:Organization", "name": "Institute"},
        "datePublished": "2026-01-02T03:04:05",
        "prov:wasDerivedFrom": {"@id": "https://example.org/older"},
        "distribution": distribution,
        **more,
    }
    path.write_text(json.dumps(body))
    return path


def file_object(name: str, **more: str) -> dict[str, Any]:
    return {"@type": "cr:FileObject", "@id": name, "contentUrl": name, "encodingFormat": "application/jsonl", **more}


def test_declared_digests_are_checked_and_junk_is_kept_as_unverified(data: Path) -> None:
    for name in ("a.jsonl", "b.jsonl", "c.jsonl", "d.jsonl", "not-named.jsonl"):
        write_jsonl(data / name, ROWS[:9])
    good, weak = sha256((data / "a.jsonl").read_bytes()), md5((data / "b.jsonl").read_bytes())
    croissant = describe(
        data,
        [
            file_object(
                "a.jsonl", sha256=good.hexdigest().upper(), md5=md5((data / "a.jsonl").read_bytes()).hexdigest()
            ),
            file_object("b.jsonl", md5=weak.hexdigest()),
            file_object("c.jsonl", sha256="https://github.com/mlcommons/croissant/issues/80"),
            file_object("absent.jsonl", sha256=good.hexdigest()),
            {**file_object("web", sha256="ab"), "contentUrl": "https://example.org/x.jsonl"},
            {"@type": "cr:FileSet", "@id": "set", "includes": "d.*", "excludes": "*.txt"},
        ],
    )
    measured = measure(data, croissant=croissant)
    assert [file.name for file in measured.files] == ["a.jsonl", "b.jsonl", "c.jsonl", "d.jsonl"]
    found = {one.name: (one.checked, one.why) for one in measured.declared}
    assert found == {
        "a.jsonl": (Checked.VERIFIED, None),
        "b.jsonl": (Checked.VERIFIED_MD5, None),
        "c.jsonl": (Checked.UNVERIFIED, "what is declared is no digest"),
        "absent.jsonl": (Checked.UNVERIFIED, "the file is not there"),
        "web": (Checked.UNVERIFIED, "not a file beside the description"),
        "set": (Checked.UNVERIFIED, "a set of files, which Croissant has no digest for"),
    }
    assert measured.croissant is not None
    said, notes = read_croissant_facts(measured.croissant)
    assert said == {"name": "rows", "derivedFrom": [{"uri": "https://example.org/older"}]}
    assert any(note.startswith("license 'Apache-2.0 AND https://example.org/terms' is left") for note in notes)
    assert any("is no sha256 digest" in note for note in notes)


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_declared_digest_of_other_bytes_is_refused(data: Path, algorithm: str) -> None:
    write_jsonl(data / "a.jsonl", ROWS[:9])
    wrong = {"sha256": "01" * 32, "md5": "01" * 16}[algorithm]
    croissant = describe(data, [file_object("a.jsonl", **{algorithm: wrong})])
    error = refuse(data, croissant=croissant)
    assert error.code == "DATA-25"
    assert "a.jsonl" in error.fact


@pytest.mark.parametrize(
    ("distribution", "more", "code", "fact"),
    [
        ([file_object("/etc/passwd")], {}, "IMPORT-11", "not below the description's folder"),
        ([file_object("file:///etc/passwd")], {}, "IMPORT-11", "not below the description's folder"),
        ([file_object("a/../../b")], {}, "IMPORT-11", "not below the description's folder"),
        (
            [{"@type": "cr:FileSet", "@id": "x", "includes": "../*"}],
            {},
            "IMPORT-11",
            "not below the description's folder",
        ),
        (
            [
                {**file_object("a"), "containedIn": {"@id": "b"}},
                {**file_object("b"), "containedIn": [{"@id": "a"}]},
            ],
            {},
            "IMPORT-15",
            "contains itself",
        ),
        ([{**file_object("a"), "containedIn": {"@id": "a"}}], {}, "IMPORT-15", "contains itself"),
        ([file_object("a"), file_object("a")], {}, "IMPORT-12", "one identifier"),
        ([{"@type": "cr:Odd", "@id": "a"}], {}, "IMPORT-05", "neither a FileObject nor a FileSet"),
        ([{"@type": "cr:FileObject"}], {}, "IMPORT-05", "neither @id nor name"),
        ([file_object("a")], {"@type": "sc:Person"}, "IMPORT-05", "is no data set"),
        ([file_object("a")], {"sc:name": "rows"}, "IMPORT-12", "twice in one object"),
        ([{"@type": "cr:FileSet", "@id": "x", "includes": ["x"] * 1001}], {}, "DATA-24", "more than 1000 patterns"),
    ],
)
def test_hostile_descriptions_are_refused(
    data: Path, distribution: list[dict[str, Any]], more: dict[str, Any], code: str, fact: str
) -> None:
    write_jsonl(data / "a.jsonl", ROWS[:2])
    error = refuse(data, croissant=describe(data, distribution, **more))
    assert (error.code, fact in error.fact) == (code, True)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"@type":"Dataset","@type":"Dataset"}', "[" * 5000, '"Dataset"'])
def test_description_that_is_none_is_refused(data: Path, text: str) -> None:
    write_jsonl(data / "a.jsonl", ROWS[:2])
    (data / "c.json").write_text(text)
    assert refuse(data, croissant=data / "c.json").code in {"IMPORT-02", "IMPORT-03", "IMPORT-05", "IMPORT-12"}


def test_description_of_addresses_only_has_nothing_to_measure(data: Path) -> None:
    write_jsonl(data / "a.jsonl", ROWS[:2])
    web = {**file_object("web"), "contentUrl": "https://example.org/x.jsonl"}
    error = refuse(data, croissant=describe(data, [web]))
    assert (error.code, "none of the files" in error.fact) == ("DATA-10", True)


def test_size_bands_have_their_ends() -> None:
    assert size_band("text", Decimal(10**9 - 1)) == "less than 1 billion tokens"
    assert size_band("text", Decimal(10**9)) == "1 billion to 10 trillion tokens"
    assert size_band("text", Decimal(10**13)) == "more than 10 trillion tokens"
    assert size_band("image", Decimal(10**6)) == "1 million to 1 billion images"
    assert size_band("video", Decimal(10**6)) == "more than 1 million hours"
    assert size_band("other", Decimal(0)) == "less than 1 GiB"


# --- commands -------------------------------------------------------------------------------------


def run(*arguments: object, ok: bool = True) -> str:
    app = typer.Typer()
    for name, function in (("attest", attest_dataset), ("prove", prove_record), ("verify", verify_record)):
        app.command(name)(function)
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if not ok:
        assert isinstance(done.exception, ArtifactError)
        return str(done.exception)
    assert done.exit_code == 0, done.output + repr(done.exception)
    return done.stdout


def attest(data: Path, *arguments: str) -> dict[str, Any]:
    said = run("attest", data, "--index", data.parent / "index", "--source", "synthetic", "--json", *arguments)
    statement: dict[str, Any] = json.loads(said)["statements"][0]["statement"]
    (data.parent / "statement.json").write_text(json.dumps(statement))
    return statement


@pytest.mark.parametrize("plain", [False, True])
def test_commands_prove_one_record_in_and_one_out(data: Path, *, plain: bool) -> None:
    write_jsonl(data / "a.jsonl", ROWS)
    index, proof = data.parent / "index", str(data.parent / "proof")
    predicate = attest(data, *(["--plain"] if plain else []))["predicate"]
    assert (predicate["records"], predicate["blinded"]) == (700, not plain)
    inside, outside = json.dumps(ROWS[7], indent=1), '{"id": 7, "text": "another"}'
    (data.parent / "record.json").write_text(inside)
    run("prove", index, data.parent / "record.json", "--as", "json", "-o", proof)
    of = ["--statement", data.parent / "statement.json"]
    assert "is in the data set, 1 time(s)" in run("verify", proof, *of, "--as", "json", "--value", inside)
    assert "DATA-0" in run("verify", proof, *of, "--as", "json", "--value", outside, ok=False)
    answer = json.loads(run("prove", index, "--as", "json", "--value", outside, "-o", proof, "--json"))
    assert (answer["verdict"], answer["total"]) == ("not-in", 700)
    assert "is not in the data set" in run("verify", proof, *of, "--digest", answer["record"])
    root = predicate["recordsRoot"]["digest"]["glasslogRecordsV1"]
    assert "is not in the data set" in run("verify", proof, "--root", root, "--digest", answer["record"])
    run("prove", index, "--as", "json", "--value", inside, "--place", "7", "-o", proof)
    assert "record 7 of 700" in run("verify", proof, *of, "--as", "json", "--value", inside)
    assert "DATA-32" in run("verify", proof, "--value", inside, ok=False)


def test_blinded_statement_gives_no_digest_that_a_guess_can_be_held_against(data: Path) -> None:
    """A file of one short record is guessed from its plain SHA-256 as well as the record is from its own."""
    (data / "a.txt").write_text("yes")
    text = json.dumps(attest(data))
    for plain in (sha256(b"yes"), sha256(b"a.txt"), sha256(f"{sha256(b'yes').hexdigest()}  a.txt\n".encode())):
        assert plain.hexdigest() not in text
    assert record_digest("bytes", b"yes").hex() not in text
    listed = (data.parent / "index.files").read_bytes()
    assert sha256(listed).hexdigest() in text
    assert sha256(listed.partition(b"\n")[2]).hexdigest() not in text, "salted"
    assert sha256(b"yes").hexdigest() in json.dumps(attest(data, "--plain"))


def test_statement_says_what_is_declared_and_what_was_measured(data: Path) -> None:
    write_jsonl(data / "a.jsonl", ROWS[:3])
    (data.parent / "facts.toml").write_text(
        'license = "MIT"\nissued = 2026-01-02\nlanguages = ["en"]\n[consent]\nbasis = "contract"\n'
        '[[size]]\nmodality = "text"\nexact = {unit = "tokens", amount = "5"}\n'
    )
    croissant = describe(data, [file_object("a.jsonl", sha256="https://github.com/mlcommons/croissant/issues/80")])
    facts = ["--facts", str(data.parent / "facts.toml"), "--croissant", str(croissant)]
    predicate = attest(data, "--plain", *facts, "--origin", "DE", "--size", "text=2000000000")["predicate"]
    assert (predicate["name"], predicate["license"], predicate["issued"]) == ("rows", "MIT", "2026-01-02")
    assert predicate["size"] == [{"modality": "text", "band": "1 billion to 10 trillion tokens"}]
    assert predicate["declaredUnverified"] == ["derivedFrom", "name"]
    assert predicate["metadata"]["digest"]["sha256"] == sha256(croissant.read_bytes()).hexdigest()
    assert predicate["sourceCategory"] == ["synthetic"]


@pytest.mark.parametrize(
    "facts",
    [
        "x", 'colour = "red"', "records = 3", 'license = "a/b"', 'consent = "yes"', "issued = 10:00:00",
        "issued = 2026-01-02T10:00:00",
        'size = [{modality = "text", band = "huge", exact = {unit = "tokens", amount = "5"}}]',
        "evidence = [{name = 'x', annotations = {a = nan}}]", "a = " + "[" * 5_000,
        "sourceCategory = []\nlanguages = ['English']",
    ],
)  # fmt: skip
def test_facts_that_cannot_be_are_refused(data: Path, facts: str) -> None:
    write_jsonl(data / "a.jsonl", ROWS[:3])
    (data.parent / "facts.toml").write_text(facts)
    where = ["--index", data.parent / "index", "--source", "synthetic", "--plain"]
    said = run("attest", data, *where, "--facts", data.parent / "facts.toml", ok=False)
    assert said.startswith("DATA-28 ")
    assert "\n" not in said


def test_statement_without_a_source_is_none(data: Path) -> None:
    write_jsonl(data / "a.jsonl", ROWS[:3])
    said = run("attest", data, "--index", data.parent / "index", ok=False)
    assert said.startswith("DATA-28 nothing says where the data comes from. Next: --source")
    for size in ("text", "text=-1", "cake=1", "text=nan"):
        assert "DATA-28" in run("attest", data, "--index", data.parent / "i", "--size", size, ok=False)


def test_sample_is_proved_from_its_files(data: Path) -> None:
    parts = {"7.jpg": b"\xff\xd8", "7.txt": b"a cat"}
    write_tar(data / "a.tar", {"1.jpg": b"x", **parts})
    for name, content in parts.items():
        (data.parent / name).write_bytes(content)
    measure_dataset(data / "a.tar", data.parent / "index")
    files = [data.parent / name for name in reversed(parts)]
    said = run("prove", data.parent / "index", *files, "--as", "sample", "-o", data.parent / "p")
    assert "is in the data set" in said


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([], "DATA-31"),
        (["--value", "x", "--digest", "00" * 32], "DATA-31"),
        (["--digest", "00"], "DATA-31"),
        (["--digest", "zz" * 32], "DATA-31"),
        (["--value", "x", "--as", "odd"], "DATA-31"),
        (["--value", "x", "--as", "sample"], "DATA-31"),
        (["--value", "{", "--as", "json"], "DATA-14"),
        (["absent"], "DATA-10"),
        (["absent", "absent"], "DATA-31"),
    ],
)
def test_records_that_are_none_are_refused(data: Path, arguments: list[str], code: str) -> None:
    write_jsonl(data / "a.jsonl", ROWS[:2])
    measure_dataset(data, data.parent / "index")
    assert run("prove", data.parent / "index", *arguments, "-o", data.parent / "p", ok=False).startswith(code)


def test_file_that_is_no_proof_is_refused(data: Path) -> None:
    (data / "p").write_bytes(b"\x80")
    for file, code in (("p", "DATA-01"), ("absent", "DATA-10")):
        said = run("verify", data / file, "--root", "00" * 32, "--value", "x", ok=False)
        assert said.startswith(code)
        assert "Next: " in said


def test_index_within_the_folder_is_no_part_of_it(data: Path) -> None:
    (data / "a.txt").write_text("x")
    first = measure_dataset(data, data / "index")
    assert measure_dataset(data, data / "index").records_root == first.records_root
    assert [file.name for file in first.files] == ["a.txt"]
    assert not (data / "index.partial").exists()
