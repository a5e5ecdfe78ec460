"""Testnets, the genesis file, and the policy made from it."""

from __future__ import annotations

import base64
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glasslog.checkpoint import Cosigner
from glasslog.entry import Role
from glasslog.errors import AdmissionError, DecodeError, ProtocolError
from glasslog.limits import BLOCK_BYTES_MAX, BLOCK_ENTRIES_MAX
from glasslog.policy import Policy
from glasslog_node import testnet as testnets
from glasslog_node.errors import ConfigError
from glasslog_node.genesis import NetworkGenesis, found_network, load_genesis, parse_genesis, print_genesis
from glasslog_node.keys import Purpose, decode_token, read_key, read_private_file
from glasslog_node.node import make_transport, validator_keys
from glasslog_node.store import Store
from glasslog_node.testnet import JURISDICTIONS, load_testnet, new_testnet
from node.store_world import genesis_leaves, genesis_members


@pytest.fixture(scope="module")
def testnet(tmp_path_factory: pytest.TempPathFactory) -> testnets.Testnet:
    return new_testnet(tmp_path_factory.mktemp("net") / "t", validators=4, labs=2, time_ms=1_000)


def network() -> NetworkGenesis:
    return parse_genesis(print_genesis(found_network("net", "log.example/net", 5, genesis_members(genesis_leaves()))))


# --- genesis file -----------------------------------------------------------------------------------


def test_genesis_file_holds_the_exact_leaves() -> None:
    made = found_network("net", "log.example/net", 5, genesis_members(genesis_leaves()))
    again = parse_genesis(print_genesis(made))
    assert again == made
    assert again.leaves[1:] == genesis_leaves()[1:]


@settings(max_examples=60)
@given(st.data())
def test_genesis_file_with_one_character_changed_is_refused(data: st.DataObject) -> None:
    text = print_genesis(network())
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda c: c != text[at]))
    with pytest.raises((ConfigError, ProtocolError)):
        parse_genesis(text[:at] + other + text[at + 1 :])


@settings(max_examples=60)
@given(st.text(max_size=300) | st.text(max_size=300).map("glasslog-genesis/v1 ".__add__))
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises((ConfigError, ProtocolError)):
        parse_genesis(text)


def test_lines_in_another_order_are_refused() -> None:
    head, genesis, one, two, *rest = print_genesis(network()).split("\n")
    with pytest.raises((ConfigError, ProtocolError)):
        parse_genesis("\n".join([head, genesis, two, one, *rest]))


def test_words_that_are_not_the_leaf_s_own_are_refused() -> None:
    text = print_genesis(network())
    with pytest.raises(ConfigError, match=r"GENESIS-05 .*not what its own leaves print"):
        parse_genesis(text.replace("validator v0 CH", "validator v0 JP"))


def test_member_left_out_is_refused() -> None:
    lines = print_genesis(network()).split("\n")
    with pytest.raises(AdmissionError, match="GENESIS-03"):
        parse_genesis("\n".join(lines[:2] + lines[3:]))


def test_jurisdiction_that_could_halt_the_network_is_refused() -> None:
    members = [replace(member, jurisdiction="CH") for member in genesis_members(genesis_leaves())]
    with pytest.raises(AdmissionError, match=r"MEMBER-05 CH holds 4 of 4 .* could halt"):
        found_network("net", "log.example/net", 5, members)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda _text: "", "GENESIS-05"),
        (lambda text: text[:-1], "GENESIS-05"),
        (lambda text: text.replace("genesis ", "genesis !", 1), None),
        (lambda text: text + "\n", None),
        (lambda text: text.replace("v1 net", "v2 net"), "GENESIS-05"),
        (lambda text: text + "é", "GENESIS-05"),
        (
            lambda text: text.split("\n")[0] + "\ngenesis " + base64.b64encode(bytes(70_000)).decode() + "\nx\n",
            "GENESIS-05",
        ),
    ],
)
def test_damaged_genesis_file_names_its_path(tmp_path: Path, change: object, code: str | None) -> None:
    assert callable(change)
    path = tmp_path / "genesis"
    path.write_text(change(print_genesis(network())))
    with pytest.raises(ConfigError, match="Next: ") as refusal:
        load_genesis(path)
    assert str(path) in refusal.value.fact
    assert code in (None, refusal.value.code)


def test_absent_genesis_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^GENESIS-06 .*no such file"):
        load_genesis(tmp_path / "none")


def test_stranger_is_no_member() -> None:
    with pytest.raises(ConfigError, match=r"^GENESIS-04 nobody.example is not a member of net"):
        network().member("nobody.example")


# --- testnets -----------------------------------------------------------------------------------------


def test_every_node_s_keys_are_those_of_the_membership(testnet: testnets.Testnet) -> None:
    for node in testnet.nodes:
        member = testnet.genesis.member(node.name)
        assert (validator_keys(node.config, member, testnet.genesis) is not None) == (member.role is Role.VALIDATOR)
        make_transport(node.config, member, testnet.genesis)
        assert read_key(node.config.keys, Purpose.AUTHOR, node.name).purpose is Purpose.AUTHOR
        assert decode_token(read_private_file(node.config.token_path), node.config.token_path)


def test_every_node_knows_the_way_to_every_other(testnet: testnets.Testnet) -> None:
    listening = {node.name: node.config.network.listen for node in testnet.nodes}
    for node in testnet.nodes:
        assert dict(node.config.network.peers) == {k: v for k, v in listening.items() if k != node.name}
    binds = [node.config.http.bind for node in testnet.nodes]
    assert len({*listening.values(), *binds}) == 2 * len(testnet.nodes)


def test_fresh_store_of_a_testnet_is_not_taken_for_a_lost_one(testnet: testnets.Testnet) -> None:
    config = testnet.nodes[0].config
    with Store.open(config.data, create=True, genesis=testnet.genesis.leaves) as store:
        assert not store.state_lost


def test_policy_is_the_validators(testnet: testnets.Testnet) -> None:
    bft = Policy.parse(testnet.policy_path.read_bytes()).bft()
    assert (bft.quorum, bft.network, bft.origin) == (3, "testnet.example", "testnet.example/ai-provenance")
    assert [member.name for member in bft.members] == [node.name for node in testnet.validators]
    assert all(isinstance(cosigner, Cosigner) for cosigner in bft.cosigners)


@pytest.mark.parametrize("validators", [4, 7, len(JURISDICTIONS) + 1])
def test_jurisdictions_hold_the_rule_at_every_size(tmp_path: Path, validators: int) -> None:
    made = new_testnet(tmp_path / "t", validators=validators, labs=16 if validators == 4 else 0, time_ms=1)
    assert len(made.validators) == validators
    for member in made.genesis.membership.members:
        assert member.quota_entries >= BLOCK_ENTRIES_MAX
        assert member.quota_bytes >= BLOCK_BYTES_MAX


@pytest.mark.parametrize(("validators", "labs"), [(3, 1), (65, 1), (4, 17), (4, -1), (0, 0)])
def test_impossible_numbers_are_refused(tmp_path: Path, validators: int, labs: int) -> None:
    with pytest.raises(ConfigError, match="TESTNET-01"):
        new_testnet(tmp_path / "t", validators=validators, labs=labs, time_ms=1)
    assert not (tmp_path / "t").exists()


def test_folder_in_use_is_refused(testnet: testnets.Testnet) -> None:
    before = (testnet.folder / "genesis").read_bytes()
    with pytest.raises(ConfigError, match="TESTNET-02"):
        new_testnet(testnet.folder, validators=4, labs=1, time_ms=1)
    assert (testnet.folder / "genesis").read_bytes() == before


def test_port_in_use_is_refused(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        base = min(taken.getsockname()[1], 65_000)
        with pytest.raises(ConfigError, match="TESTNET-03"):
            new_testnet(tmp_path / "t", validators=4, labs=1, time_ms=1, base_port=base)


@pytest.mark.parametrize("name", ["Net", "", "net/x", "-net"])
def test_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises((ConfigError, DecodeError), match=r"^TESTNET-05"):
        new_testnet(tmp_path / "t", validators=4, labs=0, time_ms=1, network=name)


def test_folder_without_a_testnet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"TESTNET-04 .*Next: glasslog testnet new"):
        load_testnet(tmp_path)


def test_no_outgoing_connection_can_sit_on_a_nodes_port(testnet: testnets.Testnet) -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    addresses = [address for node in testnet.nodes for address in (node.config.network.listen, node.config.http.bind)]
    assert len(set(addresses)) == len(addresses)
    assert all(int(address.rpartition(":")[2]) < first for address in addresses)
