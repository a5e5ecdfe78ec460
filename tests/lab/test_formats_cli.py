"""The commands: from a document to statements and evidence in a folder, and from statements to other formats."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from glasslog.predicates.base import statement_id
from glasslog.statement import from_json, to_json
from glasslog_lab.cli.formats import export, import_, read_statements
from glasslog_lab.errors import ArtifactError
from glasslog_lab.formats.statements import REFERENCE_TYPE
from lab.formats.world import all_statements, change, dataset_statement, make_folder, model_statement, run_statement

app = typer.Typer()
app.command("import")(import_)
app.command("export")(export)


def call(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def statements(tmp_path: Path) -> Path:
    path = tmp_path / "statements.jsonl"
    path.write_text("".join(to_json(one) + "\n" for one in all_statements()))
    return path


def imported(*words: object) -> list[dict[str, Any]]:
    """What `import --json` prints: one object, its statements with their ids."""
    shown: Any = json.loads(call("import", *words, "--json"))
    found = shown["statements"]
    assert [one["id"] for one in found] == [
        statement_id(from_json(json.dumps(one["statement"]))).hex() for one in found
    ]
    return [one["statement"] for one in found]


def reference(statements: list[dict[str, Any]]) -> dict[str, Any]:
    """The last of an import's statements says what was checked, and of which original."""
    found: dict[str, Any] = statements[-1]["predicate"]["references"][0]
    return found


def test_folder_is_signed_with_a_new_key_and_imported(tmp_path: Path) -> None:
    folder, bundle = make_folder(tmp_path / "model"), tmp_path / "model.sig"
    call("export", "oms", folder, "--new-key", tmp_path / "k", "-o", bundle)
    words = (bundle, "--key", tmp_path / "k.pub", "--folder", folder)
    found = reference(imported(*words, "--evidence", tmp_path / "kept"))
    assert (found["annotations"]["format"], found["annotations"]["checked"]) == ("oms", "rehashed")
    digest = sha256(bundle.read_bytes()).hexdigest()
    assert found["digest"]["sha256"] == digest
    assert (tmp_path / "kept" / digest).read_bytes() == bundle.read_bytes()
    result = CliRunner().invoke(app, ["import", str(bundle)], catch_exceptions=False)
    assert result.stderr.startswith("oms: declared, unverified\n")
    assert "not checked: the signature" in result.stderr
    assert from_json(result.stdout)["predicateType"] == REFERENCE_TYPE


def test_show_public_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")
    shown = call("import", tmp_path / "README.md", "--show-public", "--author", "lab", "--evidence", tmp_path / "kept")
    assert "a statement, public in full" in shown
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("form", ["cyclonedx", "spdx", "card", "croissant", "slsa"])
def test_statements_go_out_and_come_back(statements: Path, tmp_path: Path, form: str) -> None:
    call("export", form, statements, "-o", tmp_path / "out")
    name = {"card": "card", "slsa": "slsa"}.get(form, form)
    said = reference(imported(tmp_path / "out", "--as", name))["annotations"]
    assert (said["checked"], said["verdict"]) == ("declared", "declared, unverified")
    assert call("export", form, statements, "--created", "2026-01-01T00:00:00Z")


def test_statement_is_signed_as_dsse(statements: Path, tmp_path: Path) -> None:
    call("export", "slsa", statements, "-o", tmp_path / "s.json")
    call("export", "dsse", tmp_path / "s.json", "--new-key", tmp_path / "k", "-o", tmp_path / "e.json")
    entered, last = imported(tmp_path / "e.json", "--key", tmp_path / "k.pub")
    assert entered == json.loads((tmp_path / "s.json").read_bytes())
    assert reference([last])["annotations"]["checked"] == "signed"


def test_measured_model_is_filled_by_its_bill_and_every_statement_has_its_id(statements: Path, tmp_path: Path) -> None:
    call("export", "cyclonedx", statements, "-o", tmp_path / "bom.json")
    (tmp_path / "m.json").write_text(to_json(model_statement()))
    found = imported(tmp_path / "bom.json", "--model", tmp_path / "m.json")
    kinds = [one["predicateType"].rsplit(":", 2)[-2] for one in found[:3]]
    assert kinds == ["dataset", "evaluation", "model"]
    refused("IMPORT-16", "import", tmp_path / "bom.json", "--model", statements)
    (tmp_path / "r.json").write_text(to_json(run_statement()))
    refused("IMPORT-16", "import", tmp_path / "bom.json", "--model", tmp_path / "r.json")


def test_files_are_compared_and_what_is_not_here_is_said(statements: Path, tmp_path: Path) -> None:
    call("export", "croissant", statements, "-o", tmp_path / "c.json")
    (tmp_path / "a.csv").write_bytes(b"1,2\n")
    said = reference(imported(tmp_path / "c.json", "--folder", tmp_path))["annotations"]["unchecked"]
    assert said[-1].startswith("1 files not here")
    (tmp_path / "a.csv").write_bytes(b"1,3\n")
    refused("IMPORT-13", "import", tmp_path / "c.json", "--folder", tmp_path)


def test_stranger_s_text_does_not_reach_the_terminal_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(json.dumps({
        "@context": {}, "@type": "sc:Dataset", "name": "d", "distribution": [
            {"@type": "FileObject", "@id": "x", "sha256": "\x1b[2J"}
        ],
    }))  # fmt: skip
    result = CliRunner().invoke(app, ["import", str(tmp_path / "c.json")], catch_exceptions=False)
    assert r"\x1b[2J" in result.stderr
    assert "\x1b" not in result.output


def test_statements_are_read_as_they_are_written(tmp_path: Path) -> None:
    one, two = to_json(model_statement()), to_json(dataset_statement())
    for name, text in {
        "one.json": json.dumps(json.loads(one), indent=2),
        "list.json": f"[{one},\n{two}]\n",
        "lines.jsonl": f"{one}\n\n{two}\n",
    }.items():
        (tmp_path / name).write_text(text)
        found = read_statements(tmp_path / name)
        assert found == [model_statement(), dataset_statement()][: len(found)]
        assert len(found) == (1 if name == "one.json" else 2)
    for text in ("", "[{}]", "[1]", "{}", f"{one}\n{{", "[[["):
        (tmp_path / "x").write_text(text)
        with pytest.raises(ArtifactError) as caught:
            read_statements(tmp_path / "x")
        assert caught.value.code in {"EXPORT-01", "IMPORT-02"}


def refused(code: str, *words: object) -> None:
    with pytest.raises(ArtifactError) as caught:
        call(*words)
    assert caught.value.code == code
    assert "\n" not in str(caught.value)


def test_mistakes_are_one_line(statements: Path, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "model")
    run_only = tmp_path / "run.json"
    run_only.write_text(to_json(run_statement()))
    (tmp_path / "junk.json").write_text("{}")
    (tmp_path / "key").write_text("no key")
    refused("EXPORT-01", "export", "docx", statements)
    refused("EXPORT-01", "export", "croissant", run_only)
    refused("EXPORT-03", "export", "slsa", run_only)
    refused("EXPORT-01", "export", "spdx", tmp_path / "junk.json")
    refused("EXPORT-03", "export", "cyclonedx", statements, "--version", "1.2")
    refused("EXPORT-04", "export", "oms", folder)
    refused("EXPORT-02", "export", "oms", folder, "--key", tmp_path / "key")
    refused("EXPORT-02", "export", "oms", folder, "--key", tmp_path / "absent")
    refused("EXPORT-03", "export", "oms", folder, "--new-key", tmp_path / "k1", "--digest", "md5")
    refused("EXPORT-03", "export", "oms", folder, "--new-key", tmp_path / "k2", "--shards", "0")
    refused("IMPORT-11", "export", "oms", folder, "--new-key", tmp_path / "k3", "--ignore", "../x")
    refused("EXPORT-01", "export", "dsse", statements, "--new-key", tmp_path / "k4")
    refused("EXPORT-03", "export", "spdx", statements, "--created", "yesterday")
    refused("EXPORT-03", "export", "slsa", statements, "--builder", "me")
    refused("EXPORT-02", "export", "spdx", statements, "-o", tmp_path / "absent" / "x")
    refused("IMPORT-04", "import", tmp_path / "junk.json")
    refused("IMPORT-09", "import", tmp_path / "junk.json", "--key", tmp_path / "key")
    refused("IMPORT-10", "import", tmp_path / "junk.json", "--root", tmp_path / "key")
    refused("IMPORT-01", "import", tmp_path / "absent")


def test_what_fits_no_statement_is_said(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(to_json(model_statement()))
    call("export", "cyclonedx", tmp_path / "m.json", "-o", tmp_path / "bom.json")
    long = change((tmp_path / "bom.json").read_bytes(), "components", [
        {"type": "data", "name": "d", "components": [
            {"type": "file", "name": "n" * 900 + str(n), "hashes": [{"alg": "SHA-256", "content": f"{n:064x}"}],
             "properties": [{"name": "glasslog:bytes", "value": "1"}]} for n in range(80)
        ]}
    ])  # fmt: skip
    (tmp_path / "long.json").write_bytes(long)
    refused("IMPORT-16", "import", tmp_path / "long.json")
