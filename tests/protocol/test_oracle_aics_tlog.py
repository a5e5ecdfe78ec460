"""PyPI's aics-tlog, a stranger's verifier of C2SP logs, accepts our checkpoints, tiles and proofs, no forgeries.

It takes Ed25519 keys only and ignores the 0x06 lines. It needs Python 3.12 or later, so it runs in an environment of
its own, made once and kept in pytest's cache.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from glasslog.note import Note
from glasslog.policy import Policy
from glasslog.proof import TlogProof
from small_log import SmallLog, make_checkpoint, make_policy, make_validators

pytestmark = pytest.mark.xdist_group("aics-tlog")

RELEASE = "aics-tlog==0.2.1"
OLD_SIZE, SIZE = 3, 700


def find_python() -> str | None:
    """A Python of at least 3.12: ``GLASSLOG_ORACLE_PYTHON``, on the path, or one that pyenv keeps."""
    names = [f"python3.{minor}" for minor in range(15, 11, -1)] + ["python3"]
    candidates = [os.environ.get("GLASSLOG_ORACLE_PYTHON"), *map(shutil.which, names)]
    candidates += sorted(map(str, Path("~/.pyenv/versions").expanduser().glob("3.*/bin/python")), reverse=True)
    is_recent = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 12))"
    for candidate in candidates:
        if candidate and subprocess.run([candidate, "-c", is_recent], capture_output=True, check=False).returncode == 0:
            return candidate
    return None


@pytest.fixture(scope="session")
def oracle(pytestconfig: pytest.Config) -> Path:
    """The Python of an environment that holds aics-tlog and nothing else."""
    assert pytestconfig.cache is not None
    folder = pytestconfig.cache.mkdir(RELEASE.replace("==", "-"))
    oracle = folder / "bin" / "python"
    try:
        if not subprocess.run([oracle, "-m", "aics_tlog", "--version"], capture_output=True, check=False).returncode:
            return oracle
    except OSError:
        pass  # no environment yet, or one whose Python has gone
    python = find_python()
    if python is None:
        pytest.skip("aics-tlog needs Python 3.12 or later, and none is installed")
    steps = (
        [python, "-m", "venv", "--clear", str(folder)],
        [str(oracle), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
         "--retries=1", "--timeout=20", RELEASE],
    )  # fmt: skip
    for step in steps:
        try:
            done = subprocess.run(step, capture_output=True, text=True, timeout=180, check=False)
        except subprocess.TimeoutExpired:
            pytest.skip(f"aics-tlog could not be installed: {step[2]} took over three minutes")
        if done.returncode:
            pytest.skip(f"aics-tlog could not be installed: {(done.stderr or done.stdout).strip()[-300:]}")
    return oracle


@pytest.fixture(scope="session")
def log_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of 700 entries under four validators, as a replica serves it, with an older checkpoint kept."""
    folder = tmp_path_factory.mktemp("log")
    log, validators = SmallLog(), make_validators(4)
    log.append([f"entry {number}".encode() for number in range(OLD_SIZE)])
    (folder / "checkpoint.old").write_bytes(make_checkpoint(log.checkpoint, validators))
    log.append([f"entry {number}".encode() for number in range(OLD_SIZE, SIZE)])
    (folder / "checkpoint").write_bytes(make_checkpoint(log.checkpoint, validators[:3]))
    for path, data in log.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    for number in (0, 255, 256, SIZE - 1):
        proof = TlogProof(number, tuple(log.reader.inclusion_proof(number)), (folder / "checkpoint").read_bytes())
        (folder / f"{number}.tlog-proof").write_bytes(proof.format())
    (folder / "policy").write_bytes(make_policy(4).format())
    return folder


def trust(folder: Path, log: int = 0) -> list[str]:
    """The oracle's options for our policy file: one log key, the 0x04 keys, and k."""
    bft = Policy.parse((folder / "policy").read_bytes()).bft()
    options = ["--log-key", bft.cosigners[log].log.format(), "--quorum", str(bft.quorum), "--origin", bft.origin]
    for cosigner in bft.cosigners:
        options += ["--witness-key", cosigner.ed25519.format()]
    return options


def ask(oracle: Path, *options: object) -> tuple[bool, dict[str, Any]]:
    done = subprocess.run(
        [oracle, "-m", "aics_tlog", *map(str, options)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout, done.stderr
    return done.returncode == 0, json.loads(done.stdout)


@pytest.mark.parametrize("log", [0, 1, 2])
def test_checkpoint_is_accepted_under_each_log_key(oracle: Path, log_folder: Path, log: int) -> None:
    accepted, report = ask(oracle, "verify-checkpoint", "--note", log_folder / "checkpoint", *trust(log_folder, log))
    assert accepted, report
    assert report["size"] == SIZE


def test_checkpoint_below_the_quorum_is_refused_by_both(oracle: Path, log_folder: Path, tmp_path: Path) -> None:
    note = Note.parse((log_folder / "checkpoint").read_bytes())
    few = replace(note, lines=note.lines[:6])
    (tmp_path / "checkpoint").write_bytes(few.format())
    accepted, report = ask(oracle, "verify-checkpoint", "--note", tmp_path / "checkpoint", *trust(log_folder))
    assert not accepted
    assert "quorum not met: 2" in json.dumps(report)
    assert not make_policy(4).evaluate(few).satisfied


def test_checkpoint_forged_is_refused(oracle: Path, log_folder: Path, tmp_path: Path) -> None:
    data = (log_folder / "checkpoint").read_bytes()
    (tmp_path / "checkpoint").write_bytes(data.replace(b"\n700\n", b"\n701\n"))
    assert not ask(oracle, "verify-checkpoint", "--note", tmp_path / "checkpoint", *trust(log_folder))[0]


@pytest.mark.parametrize("index", [0, 255, 256, SIZE - 1])
def test_entries_are_proved_out_of_our_tiles(oracle: Path, log_folder: Path, tmp_path: Path, index: int) -> None:
    accepted, report = ask(
        oracle, "verify-inclusion", "--tiles", log_folder, "--index", index, "--entry-out", tmp_path / "entry",
        *trust(log_folder),
    )  # fmt: skip
    assert accepted, report
    assert (tmp_path / "entry").read_bytes() == f"entry {index}".encode()


@pytest.mark.parametrize("index", [0, 255, 256, SIZE - 1])
def test_tlog_proof_is_accepted(oracle: Path, log_folder: Path, tmp_path: Path, index: int) -> None:
    """The oracle has no reader for the format, so its parts are cut out at the blank line, byte for byte."""
    head, _, checkpoint = (log_folder / f"{index}.tlog-proof").read_bytes().partition(b"\n\n")
    lines = head.decode().split("\n")
    assert lines[:2] == ["c2sp.org/tlog-proof@v1", f"index {index}"]
    (tmp_path / "path").write_text("\n".join(lines[2:]) + "\n")
    (tmp_path / "checkpoint").write_bytes(checkpoint)
    (tmp_path / "leaf").write_bytes(f"entry {index}".encode())
    options = ["--proof", tmp_path / "path", "--checkpoint", tmp_path / "checkpoint", "--leaf", tmp_path / "leaf"]
    accepted, report = ask(oracle, "verify-inclusion", "--index", index, *options, *trust(log_folder))
    assert accepted, report
    assert report["checkpoint_verified"] is True
    assert not ask(oracle, "verify-inclusion", "--index", (index + 1) % SIZE, *options, *trust(log_folder))[0]


def test_growth_is_proved_out_of_our_tiles(oracle: Path, log_folder: Path) -> None:
    accepted, report = ask(
        oracle, "verify-consistency", "--tiles", log_folder, "--old-checkpoint", log_folder / "checkpoint.old",
        *trust(log_folder),
    )  # fmt: skip
    assert accepted, report


def test_consistency_proof_of_ours_is_accepted(oracle: Path, log_folder: Path, tmp_path: Path) -> None:
    log = SmallLog()
    log.append([f"entry {number}".encode() for number in range(OLD_SIZE)])
    old_root = log.edge.root()
    log.append([f"entry {number}".encode() for number in range(OLD_SIZE, SIZE)])
    hashes = [b64encode(value).decode() for value in log.reader.consistency_proof(OLD_SIZE)]
    (tmp_path / "proof").write_text("\n".join(hashes) + "\n")
    options = ["--old-size", OLD_SIZE, "--new-size", SIZE, "--proof", tmp_path / "proof"]
    roots = ["--old-root", b64encode(old_root).decode(), "--new-root", b64encode(log.edge.root()).decode()]
    accepted, report = ask(oracle, "verify-consistency", *options, *roots)
    assert accepted, report


def test_every_tile_and_entry_passes_its_audit(oracle: Path, log_folder: Path, tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from aics_tlog import FileSystemTileReader, audit_tiles, parse_checkpoint, parse_note\n"
        "from pathlib import Path\n"
        "folder = Path(sys.argv[1])\n"
        "head = parse_checkpoint(parse_note((folder / 'checkpoint').read_bytes()).text)\n"
        "print(audit_tiles(FileSystemTileReader(folder), head.size, head.root))\n"
    )

    def audit(folder: Path) -> subprocess.CompletedProcess[str]:
        command = [str(oracle), "-c", script, str(folder)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    done = audit(log_folder)
    assert done.returncode == 0, done.stderr
    spoilt = tmp_path / "spoilt"
    shutil.copytree(log_folder, spoilt)
    bundle = spoilt / "tile" / "entries" / "001"
    bundle.write_bytes(bundle.read_bytes().replace(b"entry 300", b"entry 301"))
    assert audit(spoilt).returncode != 0
