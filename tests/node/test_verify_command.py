"""``glasslog verify`` and ``audit`` as a person runs them: statuses, one JSON object, one line for an error."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from audit_ledger import World, flip, make_world, write_tiles_folder
from glasslog.bundle import make_bundle
from glasslog_node.__main__ import run
from glasslog_node.cli import audit as audit_command

ENTRY = 8


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(heights=2)


@pytest.fixture
def files(tmp_path: Path, world: World) -> tuple[Path, Path]:
    bundle, policy = tmp_path / "bundle", tmp_path / "policy"
    bundle.write_bytes(make_bundle(world.reader(), ENTRY))
    policy.write_bytes(world.policy.format())
    return bundle, policy


def test_verified_bundle_is_told_in_words(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", str(files[0]), "--policy", str(files[1])]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("VERIFIED\n")
    assert "institute-3.example (BR)" in out
    assert "This does not show that the statement is true." in out.splitlines()[-1]
    assert not err


def test_verified_bundle_as_json(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str], world: World) -> None:
    assert run(["verify", str(files[0]), "--policy", str(files[1]), "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["verified"] is True
    assert value["statement"]["_type"] == "https://in-toto.io/Statement/v1"
    assert (value["author"], value["entry"], value["size"]) == ("lab-1.example", 1, world.state.size)
    assert value["no_later_than"] == "2027-01-15T08:00:11Z"
    assert value["sentence"].startswith(f"At size {world.state.size}, finalized by")


def test_bundle_that_fails_is_one_line(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    bundle, policy = files
    bundle.write_bytes(flip(bundle.read_bytes(), 5_000))
    assert run(["verify", str(bundle), "--policy", str(policy)]) == 1
    out, err = capsys.readouterr()
    assert not out
    assert err.count("\n") == 1
    assert ". Next: " in err
    assert run(["verify", str(bundle), "--policy", str(policy), "--json"]) == 1
    value = json.loads(capsys.readouterr().out)
    assert set(value) == {"verified", "status", "code", "fact", "next"}


def test_policy_of_too_small_a_quorum_fails(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    bundle, policy = files
    policy.write_bytes(policy.read_bytes().replace(b"group bft 3", b"group bft 2"))
    assert run(["verify", str(bundle), "--policy", str(policy)]) == 1
    assert capsys.readouterr().err.startswith("POLICY-11 ")


@pytest.mark.parametrize("missing", [0, 1])
def test_file_that_cannot_be_read_is_status_2(
    files: tuple[Path, Path], missing: int, capsys: pytest.CaptureFixture[str]
) -> None:
    files[missing].unlink()
    assert run(["verify", str(files[0]), "--policy", str(files[1])]) == 2
    assert capsys.readouterr().err.startswith("VERIFY-01 ")


def test_verifying_needs_the_base_package_only(files: tuple[Path, Path]) -> None:
    """Where none of the extras can be imported, nor LMDB, a bundle still verifies. (Typer itself needs pydantic.)"""
    script = (
        "import sys\n"
        "for name in ('trio', 'libp2p', 'lmdb', 'starlette', 'hypercorn', 'httpx', 'structlog', 'psutil',"
        " 'prometheus_client', 'blake3'): sys.modules[name] = None\n"
        "from glasslog_node.__main__ import run\n"
        "raise SystemExit(run(sys.argv[1:]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "verify", str(files[0]), "--policy", str(files[1])],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("VERIFIED")


# --- audit --------------------------------------------------------------------------------------------


@pytest.fixture
def mirror(tmp_path: Path, world: World) -> Path:
    folder = tmp_path / "mirror"
    folder.mkdir()
    write_tiles_folder(world, folder)
    return folder


def test_audit_command_says_intact(
    mirror: Path, files: tuple[Path, Path], capsys: pytest.CaptureFixture[str], world: World
) -> None:
    assert run(["audit", str(mirror), "--policy", str(files[1])]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("INTACT")
    assert world.state.root.hex() in "".join(lines)
    assert any(line.startswith("  not checked") for line in lines)
    assert run(["audit", str(mirror), "--policy", str(files[1]), "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert (value["verdict"], value["status"], value["size"]) == ("intact", 0, world.state.size)


def test_audit_command_without_policy_is_status_3(mirror: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["audit", str(mirror)]) == 3
    assert capsys.readouterr().out.startswith("UNABLE to say whose log this is")


def test_audit_command_says_broken_and_where(
    mirror: Path, files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    tile = next((mirror / "tile/entries/000.p").iterdir())
    tile.write_bytes(flip(tile.read_bytes(), tile.stat().st_size - 100))
    assert run(["audit", str(mirror), "--policy", str(files[1])]) == 1
    out = capsys.readouterr().out
    assert out.startswith("BROKEN")
    assert "AUDIT-12" in out


def test_audit_command_that_cannot_read_is_status_2(
    tmp_path: Path, files: tuple[Path, Path], mirror: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["audit", str(tmp_path / "nothing"), "--json"]) == 2
    value = json.loads(capsys.readouterr().out)
    assert (value["verdict"], value["code"]) == ("unable", "SOURCE-01")
    files[1].write_bytes(b"quorum none\n")
    assert run(["audit", str(mirror), "--policy", str(files[1])]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("POLICY-10 ")


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_goes_to_standard_error(
    mirror: Path, terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    monkeypatch.setattr(audit_command, "_PLAIN_SECONDS", 0.0)
    assert run(["audit", str(mirror), "--json"]) == 3
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    assert "leaves" in err
