"""The command line: lazy imports, one line and a status for every end, one object with ``--json``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from glasslog.agreement.effects import PublishedNote
from glasslog.errors import DecodeError, ProtocolError
from glasslog.statement import decode_statement, to_json
from glasslog_node import testnet as testnets
from glasslog_node.__main__ import run
from glasslog_node.cli import app as commands
from glasslog_node.cli.app import GROUPS, TOP, build_app
from glasslog_node.cli.output import EXIT_BROKEN, EXIT_BUG, EXIT_INTERRUPTED, EXIT_UNABLE
from glasslog_node.errors import StoreError
from glasslog_node.store import Store
from glasslog_node.testnet import new_testnet
from node.api_world import TOKEN, Api, with_api
from node.author_world import Office, until
from node.store_world import statement

COMMAND = [sys.executable, "-m", "glasslog_node"]


def glasslog(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False, input=stdin,
        env={**os.environ, **environment},
    )  # fmt: skip


@pytest.fixture(scope="module")
def testnet(tmp_path_factory: pytest.TempPathFactory) -> testnets.Testnet:
    return new_testnet(tmp_path_factory.mktemp("net") / "t", validators=4, labs=1, time_ms=1_000)


# --- finding commands -----------------------------------------------------------------------------------


def test_help_lists_every_command_without_importing_any() -> None:
    code = (
        "import sys; from glasslog_node.__main__ import run; run(['--help'])\n"
        "heavy = {'trio', 'pydantic', 'libp2p', 'httpx', 'structlog', 'starlette', 'prometheus_client', 'rich.table'}\n"
        "sys.exit(repr(sorted(heavy & set(sys.modules))) if heavy & set(sys.modules) else 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    for name in [*TOP, *GROUPS]:
        assert f"  {name} " in result.stdout


@pytest.mark.parametrize("arguments", [["verify", "--help"], ["trust", "show", "--help"]])
def test_offline_command_needs_the_base_package_only(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "for name in ('trio', 'libp2p', 'httpx', 'structlog', 'starlette', 'hypercorn',"
        " 'prometheus_client', 'psutil'): sys.modules[name] = None\n"
        f"from glasslog_node.__main__ import run; sys.exit(run({arguments!r}))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    if arguments[0] == "verify" and "cli.verify" in result.stderr:
        pytest.skip("the verify command is not in this tree")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", ["submit", "prove", "status", "backup"])
def test_command_has_its_own_help(name: str) -> None:
    result = CliRunner().invoke(build_app(), [name, "--help"])
    assert result.exit_code == 0
    assert "--json" in result.output


@pytest.mark.parametrize(
    "arguments", [["nothing"], ["node"], ["node", "nothing"], ["prove"], ["status", "--nothing"], ["testnet", "new"]]
)
def test_misuse_is_status_2_with_a_hint(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert "Usage: glasslog" in captured.err + captured.out


def test_misspelt_command_gets_the_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    run(["statsu"])
    assert "Did you mean 'status'?" in capsys.readouterr().err


# --- how commands end ------------------------------------------------------------------------------------


def ends_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int:
    def command() -> None:
        """Fail."""
        raise error

    monkeypatch.setattr("glasslog_node.cli.status.command", command)
    return run(["status"])


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (DecodeError("CBOR-05", "2 bytes too many"), EXIT_BROKEN, "CBOR-05 2 bytes too many. Next: "),
        (ProtocolError("POLICY-02", "3 of 4"), EXIT_BROKEN, "POLICY-02 3 of 4. Next: ask a node for a newer"),
        (StoreError("STORE-05", "disk full", "free it"), EXIT_UNABLE, "STORE-05 disk full. Next: free it"),
        (ModuleNotFoundError("no", name="trio"), EXIT_UNABLE, "EXTRA-01 this command needs trio. Next: pip install"),
        (ExceptionGroup("g", [StoreError("STORE-05", "x", "y")]), EXIT_UNABLE, "STORE-05 x. Next: y"),
        (ExceptionGroup("g", [StoreError("STORE-05", "x", "y"), KeyError("k")]), EXIT_BUG, "BUG-01 KeyError: 'k'"),
        (ValueError("odd\x1b[31m"), EXIT_BUG, "BUG-01 ValueError: odd\\x1b[31m"),
        (KeyboardInterrupt(), EXIT_INTERRUPTED, ""),
        (BaseExceptionGroup("g", [KeyboardInterrupt()]), EXIT_INTERRUPTED, ""),
    ],
)
def test_every_end_is_one_line_and_a_status(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    status: int,
    line: str,
) -> None:
    monkeypatch.delenv("GLASSLOG_DEBUG", raising=False)
    assert ends_with(monkeypatch, error) == status
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(line)
    assert "Traceback" not in captured.err


def test_bug_keeps_its_traceback_in_a_file(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    ends_with(monkeypatch, ZeroDivisionError("half"))
    path = Path(capsys.readouterr().err.split("report it with ")[1].strip())
    assert "ZeroDivisionError: half" in path.read_text()
    path.unlink()


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("GLASSLOG_DEBUG", "1")
    ends_with(monkeypatch, StoreError("STORE-05", "x", "y"))
    assert "Traceback" in capsys.readouterr().err


def test_every_registered_function_exists_or_its_module_is_to_come() -> None:
    from importlib import import_module
    from importlib.util import find_spec

    entries = [*TOP.values(), *(entry for _, table in GROUPS.values() for entry in table.values())]
    for entry in entries:
        if find_spec(entry.module) is not None:
            assert callable(getattr(import_module(entry.module), entry.function))
    assert commands.TOP is TOP


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["status", "--config", "none.toml"], "CONFIG-01"),
        (["node", "run", "--config", "none.toml"], "CONFIG-01"),
        (["testnet", "up", "none"], "TESTNET-04"),
        (["testnet", "new", "x", "--validators", "2"], "TESTNET-01"),
        (["trust", "show", "none"], "TRUST-01"),
        (["status"], "CLIENT-03"),
        (["status", "--url", "http://127.0.0.1:1"], "CLIENT-01"),
        (["status", "--url", "nonsense"], "CLIENT-01"),
        (["submit", "none.json", "--url", "http://127.0.0.1:1"], "CLIENT-04"),
        (["prove", "3", "-o", "x", "--url", "http://127.0.0.1:1"], "CLIENT-01"),
    ],
)
def test_operating_fault_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == EXIT_UNABLE
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith(f"{code} ")
    assert ". Next: " in line


def test_operating_fault_is_one_line_from_a_shell(tmp_path: Path) -> None:
    result = glasslog("status", "--config", str(tmp_path / "none.toml"))
    assert (result.returncode, result.stdout) == (2, "")
    assert (
        result.stderr
        == f"CONFIG-01 {tmp_path}/none.toml: no such file or directory. Next: pass the right --config FILE\n"
    )


def test_bad_configuration_prints_every_problem(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('name = "A"\nnett = 1\n[http]\nbind = "x"\n')
    result = glasslog("node", "run", "--config", str(path))
    assert result.returncode == 2
    lines = result.stderr.splitlines()
    assert [line.split(":")[0] for line in lines[:-1]] == [
        "CONFIG-05 http.bind", "CONFIG-05 name", "CONFIG-04 nett", "CONFIG-03 network",
    ]  # fmt: skip
    assert lines[-1] == f"Next: correct {path}"


def test_key_open_to_others_stops_the_node(testnet: testnets.Testnet) -> None:
    node = testnet.validators[0]
    key = node.config.keys / "vote.key"
    key.chmod(0o644)
    try:
        result = glasslog("node", "run", "--config", str(node.config_path))
    finally:
        key.chmod(0o600)
    assert (result.returncode, result.stderr.split()[0]) == (2, "KEY-02")
    assert "Traceback" not in result.stderr


# --- commands that need no node -----------------------------------------------------------------------------


def test_testnet_new_prints_one_object(tmp_path: Path) -> None:
    result = glasslog("testnet", "new", str(tmp_path / "t"), "--labs", "2", "--json")
    value = json.loads(result.stdout)
    assert result.returncode == 0
    assert [node["role"] for node in value["nodes"]].count("author") == 2
    assert Path(value["policy"]).exists()


def test_trust_show_says_quorum_names_and_fingerprints(testnet: testnets.Testnet, tmp_path: Path) -> None:
    said = glasslog("trust", "show", str(testnet.policy_path))
    assert "when 3 of these 4 validators cosigned it" in said.stdout
    value = json.loads(glasslog("trust", "show", str(testnet.policy_path), "--json").stdout)
    assert [each["jurisdiction"] for each in value["validators"]] == ["BR", "DE", "FR", "JP"]
    assert all(each["mldsa44"] in said.stdout for each in value["validators"])
    damaged = tmp_path / "policy"
    damaged.write_bytes(testnet.policy_path.read_bytes().replace(b"group bft 3", b"group bft 2"))
    refused = glasslog("trust", "show", str(damaged))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("POLICY-11 ")


def test_backup_copies_a_replica(testnet: testnets.Testnet, tmp_path: Path) -> None:
    node = testnet.validators[1]
    with Store.open(node.config.data, create=True, genesis=testnet.genesis.leaves):
        result = glasslog("backup", str(tmp_path / "copy"), "--config", str(node.config_path), "--json")
        assert json.loads(result.stdout) == {"backup": str(tmp_path / "copy"), "size": 6, "full": False}
        again = glasslog("backup", str(tmp_path / "copy"), "--config", str(node.config_path))
    assert (again.returncode, again.stderr.split()[0]) == (2, "STORE-10")


# --- commands that ask a node ---------------------------------------------------------------------------------


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office.new(tmp_path / "store")
    yield made
    made.close()


class Shell:
    """Runs commands in a thread while the server runs in the test's own."""

    def __init__(self, api: Api, folder: Path) -> None:
        self.folder = folder
        self.token = folder / "token"
        self.token.write_text(TOKEN + "\n")
        self.token.chmod(0o600)
        self.address = f"http://127.0.0.1:{api.address[1]}"

    async def __call__(self, *arguments: str, stdin: str = "") -> Any:
        import trio

        extra = ["--url", self.address, "--token-file", str(self.token)]
        arguments = tuple(a for a in (*arguments, *(extra if arguments[0] != "status" else extra[:2])))
        return await trio.to_thread.run_sync(lambda: glasslog(*arguments, stdin=stdin))


def test_submit_wait_and_prove_go_from_file_to_bundle(office: Office, tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        import trio

        async def publish() -> None:
            await until(lambda: bool(api.office.offered))
            api.publish()

        shell = Shell(api, tmp_path)
        (tmp_path / "s.jsonl").write_text("".join(to_json(decode_statement(statement(n))) + "\n" for n in range(3)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(publish)
            done = await shell("submit", str(tmp_path / "s.jsonl"), "--wait", "--json", "--key", "k-1")
        value = json.loads(done.stdout)
        assert (value["submission"], value["count"], value["state"]) == ("k-1", 3, "published")
        proved = await shell("prove", "k-1/2", "-o", str(tmp_path / "bundle"))
        assert proved.returncode == 0, proved.stderr
        assert (tmp_path / "bundle").read_bytes().endswith(statement(2))
        missing = await shell("prove", "999", "-o", str(tmp_path / "other"))
        assert (missing.returncode, missing.stderr.split()[0]) == (2, "HTTP-14")
        assert not (tmp_path / "other").exists()

    with_api(office, work)


def test_submit_reads_standard_input_and_tells_refusals(office: Office, tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        shell = Shell(api, tmp_path)
        good = await shell("submit", "-", stdin=to_json(decode_statement(statement(1))))
        assert good.stdout.endswith("1 statement(s) durably taken\n")
        bad = await shell("submit", "-", stdin='[{"_type": "x"}]')
        assert (bad.returncode, bad.stdout) == (2, "")
        assert bad.stderr.startswith("STMT-08 statement 0: ")
        shell.token.write_text("w" * 32)
        wrong = await shell("submit", "-", stdin="{}")
        assert wrong.stderr.startswith("HTTP-02 ")

    with_api(office, work)


def test_status_names_who_is_missing(office: Office, tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        api.node.problems = ["QUORUM-01 2 of 3 reachable; missing: v1 (JP). Next: start them"]
        shell = Shell(api, tmp_path)
        said = (await shell("status", "--why")).stdout
        assert "lab-a (author, DE) in testnet: waiting" in said
        assert "v1 (validator, JP): absent (connection refused)" in said
        assert said.endswith("missing: v1 (JP). Next: start them\n")
        assert json.loads((await shell("status", "--json")).stdout)["why"] == api.node.problems

    with_api(office, work)


# --- a whole network ------------------------------------------------------------------------------------------


def start_up(folder: Path) -> tuple[subprocess.Popen[bytes], Callable[[], list[str]]]:
    """Start the command; return it and what reads its output so far."""
    output = folder / "up.log"
    with output.open("wb") as file:
        process = subprocess.Popen([*COMMAND, "testnet", "up", str(folder)], stdout=file, stderr=subprocess.STDOUT)
    return process, lambda: output.read_text().splitlines()


def test_testnet_up_runs_every_node_and_stops_them_all(tmp_path: Path) -> None:
    made = new_testnet(tmp_path / "t", validators=4, labs=1, time_ms=1_000)
    process, lines = start_up(made.folder)
    try:
        wait_until(lambda: any(line.count(" idle height 0") == 5 for line in lines()), lines)
        config = str(made.labs[0].config_path)
        (tmp_path / "s.cbor").write_bytes(statement(1) + statement(2))
        done = glasslog("submit", str(tmp_path / "s.cbor"), "--config", config, "--wait", "--json")
        assert json.loads(done.stdout)["state"] == "published", done.stderr
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    assert lines()[-1] == "all nodes have stopped"
    for node in made.nodes:
        assert "Traceback" not in (node.folder / "node.log").read_text()
        with Store.open(node.config.data, readonly=True) as store:
            assert store.height == 1


def wait_until(condition: Callable[[], bool], lines: Callable[[], list[str]]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, lines()
        time.sleep(0.05)


def test_nodes_end_when_whoever_started_them_is_killed(tmp_path: Path) -> None:
    import psutil  # type: ignore[import-untyped]  # publishes no types

    made = new_testnet(tmp_path / "t", validators=4, labs=0, time_ms=1_000)
    process, lines = start_up(made.folder)
    wait_until(lambda: any("idle height 0" in line for line in lines()), lines)
    children = psutil.Process(process.pid).children()
    assert len(children) == 4
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []


def test_public_reads_run_beside_the_node_s_store(testnet: testnets.Testnet, tmp_path: Path) -> None:
    import httpx

    node = testnet.validators[2]
    socket = tmp_path / "public"
    config = node.folder / "public.toml"
    text = node.config_path.read_text()
    config.write_text(text.replace('token_file = "token"', f'public_bind = "unix:{socket}"'))
    assert glasslog("node", "serve-public", "--config", str(node.config_path)).stderr.startswith("HTTP-22 ")
    with Store.open(node.config.data, create=True, genesis=testnet.genesis.leaves) as store:
        store.commit([PublishedNote(5, b"a note\n")])
        process = subprocess.Popen(
            [*COMMAND, "node", "serve-public", "--config", str(config)], stderr=subprocess.DEVNULL
        )
        try:
            wait_until(socket.exists, list[str])
            with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket)), base_url="http://node") as client:
                assert client.get("/checkpoint").content == b"a note\n"
                assert client.get("/v1/entries/4").status_code == 200
                assert client.get("/v1/entries/5").status_code == 404
                assert client.get("/metrics").status_code == 404
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.wait()
    assert not socket.exists()
