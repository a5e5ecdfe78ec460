"""What can be wrong with an installation: the node does not start, says why in one line, and harms nothing."""

from __future__ import annotations

import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from chaos.rig import Answer, Node, found, glasslog
from glasslog_node.keys import Purpose, key_path
from glasslog_node.store import schema
from glasslog_node.store.store import Store

UNABLE = 2
LINE = re.compile(r"[A-Z]+-\d\d .+\. Next: .+")


@dataclass(frozen=True)
class Place:
    """One validator of a network of its own, and another network beside it."""

    node: Node
    other: Node

    def edit(self, old: str, new: str) -> None:
        text = self.node.config_path.read_text()
        assert old in text
        self.node.config_path.write_text(text.replace(old, new, 1))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(found(tmp_path / "net").validators[0], found(tmp_path / "other").validators[0])


def begin_store(node: Node, genesis: Path) -> None:
    from glasslog_node.genesis import load_genesis

    Store.open(node.config.data, create=True, genesis=load_genesis(genesis).leaves).close()


def run_node(node: Node) -> Answer:
    """Start the node, which must not stay up."""

    async def main() -> Answer:
        return await glasslog("node", "run", "--config", node.config_path)

    return trio.run(main)


def genesis_of(node: Node) -> Path:
    return node.folder.parent / "genesis"


# Each takes away or spoils one thing and names the code that says so.


def key_missing(here: Place) -> str:
    key_path(here.node.config.keys, Purpose.VOTE).unlink()
    return "KEY-01"


def key_readable_by_all(here: Place) -> str:
    key_path(here.node.config.keys, Purpose.VOTE).chmod(0o644)
    return "KEY-02"


def keys_folder_open_to_all(here: Place) -> str:
    here.node.config.keys.chmod(0o755)
    return "KEY-03"


def key_cut_short(here: Place) -> str:
    path = key_path(here.node.config.keys, Purpose.NETWORK)
    path.write_text(path.read_text()[:40])
    return "KEY-04"


def key_of_another_member(here: Place) -> str:
    path = Path(Purpose.VOTE.value + ".key")
    shutil.copy(here.other.config.keys / path, here.node.config.keys / path)
    return "KEY-09"


def token_missing(here: Place) -> str:
    here.node.config.token_path.unlink()
    return "KEY-01"


def token_too_short(here: Place) -> str:
    here.node.config.token_path.write_text("secret\n")
    return "KEY-04"


def config_that_is_not_toml(here: Place) -> str:
    here.edit('name = "', "name = ")
    return "CONFIG-02"


def peer_that_is_no_member(here: Place) -> str:
    here.edit("[network.peers]\n", '[network.peers]\n"stranger.example" = "127.0.0.1:9"\n')
    return "CONFIG-20"


def name_of_nobody(here: Place) -> str:
    here.edit(f'name = "{here.node.name}"', 'name = "nobody.example"')
    return "GENESIS-04"


def genesis_missing(here: Place) -> str:
    genesis_of(here.node).unlink()
    return "GENESIS-06"


def genesis_edited(here: Place) -> str:
    path = genesis_of(here.node)
    path.write_text(path.read_text().replace(f"validator {here.node.name} ", "validator someone.example ", 1))
    return "GENESIS-05"


def genesis_cut_short(here: Place) -> str:
    path = genesis_of(here.node)
    path.write_text("\n".join(path.read_text().split("\n")[:-2]) + "\n")
    return "GENESIS-"


def store_of_another_network(here: Place) -> str:
    begin_store(here.node, genesis_of(here.other))
    return "STORE-04"


def store_of_a_newer_schema(here: Place) -> str:
    begin_store(here.node, genesis_of(here.node))
    with Store.open(here.node.config.data) as store, store.environment.env.begin(write=True) as txn:
        txn.put(schema.META_SCHEMA, schema.u64(schema.SCHEMA_VERSION + 1), db=store.environment.db.meta)
    return "STORE-01"


def store_cut_short(here: Place) -> str:
    begin_store(here.node, genesis_of(here.node))
    os.truncate(here.node.config.data / "data.mdb", 3 * 4096)
    return "STORE-03"


def store_that_is_something_else(here: Place) -> str:
    here.node.config.data.mkdir()
    (here.node.config.data / "data.mdb").write_bytes(b"my holiday photographs" * 1000)
    return "STORE-03"


def data_that_is_a_file(here: Place) -> str:
    here.node.config.data.write_text("hello")
    return "STORE-05"


FAULTS: list[Callable[[Place], str]] = [
    key_missing, key_readable_by_all, keys_folder_open_to_all, key_cut_short, key_of_another_member,
    token_missing, token_too_short, config_that_is_not_toml, peer_that_is_no_member, name_of_nobody,
    genesis_missing, genesis_edited, genesis_cut_short, store_of_another_network, store_of_a_newer_schema,
    store_cut_short, store_that_is_something_else, data_that_is_a_file,
]  # fmt: skip


def check_one_line(answer: Answer, code: str) -> None:
    """One line: a code, the fact, what to do next."""
    assert answer.status == UNABLE, answer
    assert answer.out == ""
    said = [line for line in answer.lines if not line.startswith("{")]  # the log is JSON lines
    assert len(said) == 1, answer.err
    assert LINE.fullmatch(said[0]), said
    assert said[0].startswith(code), said
    assert "Traceback" not in answer.err


@pytest.mark.parametrize("spoil", FAULTS)
def test_node_that_cannot_start_says_why_in_one_line(place: Place, spoil: Callable[[Place], str]) -> None:
    code = spoil(place)
    data = place.node.config.data / "data.mdb"
    before = data.read_bytes() if data.exists() else None
    check_one_line(run_node(place.node), code)
    assert (data.read_bytes() if data.exists() else None) == before, "a refused start changed the data"


def test_every_error_of_a_configuration_is_told_at_once(place: Place) -> None:
    place.edit("[http]\n", "[http]\nbody_bytes_max = 1\nspeed = 9\n")
    place.edit(f'name = "{place.node.name}"', 'name = "Not A Name"')
    place.edit('listen = "', 'listen = "nowhere:')
    answer = run_node(place.node)
    assert answer.status == UNABLE
    codes = [line.split(" ")[0:2] for line in answer.lines]
    assert codes == [
        ["CONFIG-05", "http.body_bytes_max:"],
        ["CONFIG-04", "http.speed:"],
        ["CONFIG-05", "name:"],
        ["CONFIG-05", "network.listen:"],
        ["Next:", "correct"],
    ]


@contextmanager
def occupied(address: str) -> Iterator[None]:
    host, port = address.rsplit(":", 1)
    with socket.socket() as taken:
        taken.bind((host, int(port)))
        taken.listen()
        yield


def test_port_in_use_by_another_process_is_one_line(place: Place) -> None:
    with occupied(place.node.config.http.bind):
        check_one_line(run_node(place.node), "HTTP-20")
    with occupied(place.node.config.network.listen):
        check_one_line(run_node(place.node), "NET-01")


def test_second_process_on_the_same_data_is_refused(place: Place) -> None:
    from glasslog_node.genesis import load_genesis

    with Store.open(place.node.config.data, create=True, genesis=load_genesis(genesis_of(place.node)).leaves):
        check_one_line(run_node(place.node), "STORE-08")


def test_commands_that_find_no_node_say_so_in_one_line(place: Place, tmp_path: Path) -> None:
    async def main() -> None:
        check_one_line(await glasslog("status", "--config", place.node.config_path), "CLIENT-01")
        check_one_line(await glasslog("status", "--config", tmp_path / "absent.toml"), "CONFIG-01")
        check_one_line(await glasslog("testnet", "up", tmp_path / "absent"), "TESTNET-04")
        check_one_line(await glasslog("backup", tmp_path / "copy", "--config", place.node.config_path), "STORE-02")

    trio.run(main)
