"""``glasslog report`` as an examiner uses it: written, signed, verified, entered, made again by somebody else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from audit_ledger import flip, write_tiles_folder
from claims_ledger import Story, root
from glasslog.predicates.audit_report import AuditReport
from glasslog.statement import from_json
from glasslog_node.reporting.software import measure_software

ASKED = (
    "--policy", "policy", "--policy-source", "by hand", "--question", "Was it?", "--model", root("tuned").hex(),
    "--examiner", "Authority",
)  # fmt: skip


def glasslog(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "glasslog_node", "report", *arguments]
    # Nothing of the surroundings may get into a report.
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8", "TZ": "Asia/Tokyo", "LC_ALL": "C.UTF-8", **environment}
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=120, check=False, env=environment
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    story = Story().drop("opening").change("summary", compute="1500")
    (folder / "log").mkdir()
    write_tiles_folder(story.grow(), folder / "log")
    (folder / "policy").write_bytes(story.world.policy.format())
    (folder / "reply.txt").write_text("We contest this.\n")
    made = glasslog(folder, "--new-keys", "keys", "--json")
    assert made.returncode == 0, made.stderr
    (folder / "fingerprints").write_text(made.stdout)
    done = glasslog(
        folder, "log", *ASKED, "--reply", "reply.txt", "--sign-key", "keys", "--format", "json", "-o", "report.json",
        "--bundle", "bundle.zip", "--statement", "statement.json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "The statements: inconsistent." in done.stdout
    return folder


def fingerprint(folder: Path, algorithm: str) -> str:
    return str(json.loads((folder / "fingerprints").read_text())["keys"][algorithm]["sha256"])


def test_report_is_made_again_by_another_from_its_bundle_alone(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "b.zip").write_bytes((folder / "bundle.zip").read_bytes())
    done = glasslog(tmp_path, "--replay", "b.zip", "--format", "json", "-o", "again.json", TZ="America/Lima")
    assert done.returncode == 0, done.stderr
    assert "identical, byte for byte" in done.stdout
    assert (tmp_path / "again.json").read_bytes() == (folder / "report.json").read_bytes()


def test_report_without_a_bundle_is_the_same_but_for_its_time(folder: Path) -> None:
    done = glasslog(
        folder, "log", *ASKED, "--reply", "reply.txt", "--sign-key", "keys", "--format", "json", "-o", "b.json"
    )
    assert done.returncode == 0, done.stderr
    one, other = (json.loads((folder / name).read_text()) for name in ("report.json", "b.json"))
    assert one["examiner"].pop("finished") <= other["examiner"].pop("finished")
    assert one == other


def test_signature_is_verified_with_a_key_from_elsewhere(folder: Path) -> None:
    for algorithm in ("Ed25519", "ML-DSA-44"):
        done = glasslog(folder, "--verify", "report.json", "--key", fingerprint(folder, algorithm))
        assert (done.returncode, done.stdout.splitlines()[0]) == (0, "VERIFIED"), done.stderr
    done = glasslog(folder, "--verify", "report.json")
    assert "compared with none you trust" in done.stdout


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        (lambda report, sig: (flip(report, 100), sig), 2, "REPORT-04"),
        (lambda report, sig: (report, sig.replace(b'"signature": "', b'"signature": "00')), 1, "REPORT-05"),
        (lambda report, sig: (report, sig[: len(sig) // 2]), 2, "REPORT-04"),
        (lambda report, sig: (report, b"[]"), 2, "REPORT-04"),
        (lambda report, sig: (report, b'{"format":"glasslog-report-signature/1"}'), 2, "REPORT-04"),
        (lambda report, sig: (report, sig.replace(b"ML-DSA-44", b"Ed25519")), 2, "REPORT-04"),
        (lambda report, sig: (report, sig.replace(b"ML-DSA-44", b"none")), 2, "REPORT-04"),
        (lambda report, sig: (report, b"[" * 60_000), 2, "REPORT-04"),
    ],
)
def test_forged_report_or_signature_does_not_verify(
    folder: Path, tmp_path: Path, change: object, status: int, code: str
) -> None:
    pair = (folder / "report.json").read_bytes(), (folder / "report.json.sig").read_bytes()
    report, signature = change(*pair)  # type: ignore[operator]  # one of the functions above
    (tmp_path / "r.json").write_bytes(report)
    (tmp_path / "r.json.sig").write_bytes(signature)
    done = glasslog(tmp_path, "--verify", "r.json")
    assert done.returncode == status
    assert code in done.stdout + done.stderr


def test_key_that_did_not_sign_does_not_verify(folder: Path) -> None:
    done = glasslog(folder, "--verify", "report.json", "--key", "ab" * 32, "--json")
    assert (done.returncode, json.loads(done.stdout)["verified"]) == (1, False)


def test_statement_for_the_log_names_the_report(folder: Path) -> None:
    said = AuditReport.read(from_json((folder / "statement.json").read_bytes()))
    told = json.loads(glasslog(folder, "--replay", "bundle.zip", "--json").stdout)
    assert said.report.digest == {"sha256": bytes.fromhex(told["report_sha256"])}
    assert said.examiner.name == "Authority"
    assert said.software.digest == {"sha256": bytes.fromhex(measure_software().digest)}


def test_pages_and_print_are_written(folder: Path) -> None:
    pytest.importorskip("fpdf", reason="needs fpdf2, of the extra `report`")
    pytest.importorskip("jinja2", reason="needs jinja2, of the extra `report`")
    for form, begin in (("html", b"<!DOCTYPE html>"), ("pdf", b"%PDF-")):
        outputs: list[bytes] = []
        for name in ("one", "other"):
            done = glasslog(folder, "--replay", "bundle.zip", "--format", form, "-o", f"{name}.{form}")
            assert done.returncode == 0, done.stderr
            outputs.append((folder / f"{name}.{form}").read_bytes())
        assert outputs[0] == outputs[1]
        assert outputs[0].lstrip().startswith(begin)


def test_other_software_says_so(folder: Path, tmp_path: Path) -> None:
    data = (folder / "bundle.zip").read_bytes()
    with zipfile.ZipFile(folder / "bundle.zip") as old, zipfile.ZipFile(tmp_path / "b.zip", "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(measure_software().digest.encode(), b"0" * 64))
    assert data != (tmp_path / "b.zip").read_bytes()
    done = glasslog(tmp_path, "--replay", "b.zip", "--format", "json", "-o", "again.json")
    assert done.returncode == 3
    assert "was made by software 0000" in done.stdout
    assert "DIFFERS" in done.stdout
    one, other = json.loads((folder / "report.json").read_text()), json.loads((tmp_path / "again.json").read_text())
    assert one == other
    assert one["software"]["digest"] == measure_software().digest


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("log",), "REPORT-01"),
        ((*ASKED,), "REPORT-01"),
        (("log", *ASKED, "--model", "xyz"), "REPORT-01"),
        (("log", *ASKED, "--question", "x" * 30_000), "REPORT-01"),
        (("log", *ASKED, "--reply", "log/checkpoint-none"), "VERIFY-01"),
        (("log", *ASKED, "--policy", "reply.txt"), "POLICY-"),
        (("log", *ASKED, "--policy", "none"), "VERIFY-01"),
        (("log", *ASKED, "--format", "json", "-o", "none/r.json"), "REPORT-08"),
        (("log", *ASKED, "--bundle", "none/b.zip"), "REPORT-08"),
        (("log", *ASKED, "--sign-key", "none"), "KEY-01"),
        (("log", *ASKED, "--sign-key", "keys"), "REPORT-01"),
        (("none", *ASKED), "SOURCE-01"),
        (("--replay", "policy"), "REPORT-03"),
        (("--replay", "none.zip"), "REPORT-02"),
        (("--new-keys", "keys"), "KEY-07"),
        (("--verify", "policy"), "VERIFY-01"),
    ],
)
def test_wrong_order_is_one_line_and_a_next_step(folder: Path, arguments: tuple[str, ...], code: str) -> None:
    done = glasslog(folder, *arguments)
    assert done.returncode == 2
    assert code in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Next: " in done.stderr


def test_reply_that_is_no_text_is_refused(folder: Path) -> None:
    (folder / "scan.jpg").write_bytes(b"\xff\xd8\xff")
    done = glasslog(folder, "log", *ASKED, "--reply", "scan.jpg")
    assert (done.returncode, "not a UTF-8 text" in done.stderr) == (2, True)


def test_missing_renderer_names_the_extra(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "jinja2.py").write_text("raise ModuleNotFoundError(\"No module named 'jinja2'\", name='jinja2')\n")
    path = f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"
    done = glasslog(folder, "--replay", "bundle.zip", "--format", "html", "-o", "x.html", PYTHONPATH=path)
    assert (done.returncode, "pip install 'glasslog[report]'" in done.stderr) == (2, True)
    plain = glasslog(folder, "--replay", "bundle.zip", "--format", "json", "-o", "x.json", PYTHONPATH=path)
    assert plain.returncode == 0
