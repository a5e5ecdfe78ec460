"""A network on one machine: keys, genesis, policy and one configuration per node, in one folder.

    DIR/genesis   DIR/policy
    DIR/institute-de.example/{config.toml, token, keys/, data/, data.mark, node.log}

Only for trying things out: one person holds every key. A real network is founded by exchanging public keys.
"""

from __future__ import annotations

import random
import secrets
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from glasslog.codec import is_name
from glasslog.entry import Member, Role
from glasslog.identity import Ed25519Key, MlDsa44Key
from glasslog.limits import BLOCK_BYTES_MAX, BLOCK_ENTRIES_MAX, HEIGHT_BYTES_MAX, HEIGHT_ENTRIES_MAX, VALIDATORS_MIN
from glasslog.policy import Policy, PolicyMember
from glasslog_node.config import NodeConfig, load_config
from glasslog_node.errors import ConfigError
from glasslog_node.genesis import NetworkGenesis, found_network, load_genesis, print_genesis
from glasslog_node.keys import Purpose, create_key, write_private_file

JURISDICTIONS = (
    "DE", "FR", "JP", "BR", "KE", "CA", "IN", "KR", "ZA", "AU", "MX", "SE", "SG", "CL", "EG", "NZ",
    "IT", "ES", "NG", "AR", "ID", "NO", "CH", "PL", "TH", "UY", "GH", "FI", "VN", "PT", "MA", "IE",
)  # fmt: skip
PORTS = range(16_000, 32_000)  # below 32,768, where Linux begins to number outgoing connections
LABS_MAX = 16  # so that each lab's share of a height still holds a whole block
_VALIDATOR_KEYS = tuple(Purpose)
_LAB_KEYS = (Purpose.NETWORK, Purpose.AUTHOR)


@dataclass(frozen=True, slots=True)
class TestnetNode:
    """One node of a testnet: where its files lie and where it answers."""

    name: str
    role: Role
    jurisdiction: str
    config_path: Path
    config: NodeConfig

    @property
    def folder(self) -> Path:
        """The node's own folder."""
        return self.config_path.parent


@dataclass(frozen=True, slots=True)
class Testnet:
    """A testnet's folder, read back."""

    folder: Path
    genesis: NetworkGenesis
    nodes: tuple[TestnetNode, ...]

    @property
    def policy_path(self) -> Path:
        """The policy file to verify bundles and audits with."""
        return self.folder / "policy"

    @property
    def validators(self) -> tuple[TestnetNode, ...]:
        """The nodes that vote."""
        return tuple(node for node in self.nodes if node.role is Role.VALIDATOR)

    @property
    def labs(self) -> tuple[TestnetNode, ...]:
        """The nodes that submit."""
        return tuple(node for node in self.nodes if node.role is Role.AUTHOR)


@dataclass(frozen=True, slots=True)
class _Plan:
    name: str
    role: Role
    jurisdiction: str
    peer_port: int
    http_port: int


def new_testnet(
    folder: Path,
    *,
    validators: int,
    labs: int,
    time_ms: int,
    network: str = "testnet.example",
    base_port: int | None = None,
) -> Testnet:
    """Create everything a testnet needs under ``folder``, which must not exist or be empty.

    Raises:
        ConfigError: TESTNET-01 numbers out of range, TESTNET-02 the folder is in use, TESTNET-03 ports are taken,
            TESTNET-05 not a network's name, KEY-nn a key cannot be written.
    """
    if not VALIDATORS_MIN <= validators <= 2 * len(JURISDICTIONS) or not 0 <= labs <= LABS_MAX:
        fact = f"{validators} validators and {labs} labs"
        most = f"use --validators {VALIDATORS_MIN} to {2 * len(JURISDICTIONS)} and --labs 0 to {LABS_MAX}"
        raise ConfigError("TESTNET-01", fact, most)
    if not is_name(network):
        fact = f"{network!r} is not a network's name"
        raise ConfigError("TESTNET-05", fact, "use 1 to 63 of a-z, 0-9, '.' and '-', such as testnet.example")
    _make_folder(folder)
    ports = iter(_free_ports(2 * (validators + labs), base_port))
    plans = [_Plan(*who, next(ports), next(ports)) for who in _cast(validators, labs)]
    members = [_create_member(folder / plan.name, plan, labs) for plan in plans]
    genesis = found_network(network, f"{network}/ai-provenance", time_ms, members)
    (folder / "genesis").write_text(print_genesis(genesis), encoding="ascii")
    (folder / "policy").write_bytes(policy_of(genesis).format())
    for plan in plans:
        _create_node(folder / plan.name, plan, plans, genesis)
    return load_testnet(folder)


def load_testnet(folder: Path) -> Testnet:
    """Read a testnet's folder back.

    Raises:
        ConfigError: TESTNET-04 there is none, or anything wrong with its genesis or configurations.
    """
    if not (folder / "genesis").is_file():
        fact = f"there is no testnet in {folder}"
        raise ConfigError("TESTNET-04", fact, f"glasslog testnet new {folder} --validators 4 --labs 1")
    genesis = load_genesis(folder / "genesis")
    nodes: list[TestnetNode] = []
    for member in genesis.membership.members:
        path = folder / member.name / "config.toml"
        nodes.append(TestnetNode(member.name, member.role, member.jurisdiction, path, load_config(path)))
    return Testnet(folder, genesis, tuple(nodes))


def policy_of(genesis: NetworkGenesis) -> Policy:
    """Return the policy that trusts a network's founding validators."""
    members: list[PolicyMember] = []
    for member in genesis.membership.validators:
        keys = (member.log_key, member.cosign_ed25519, member.cosign_mldsa44)
        log, ed25519, mldsa44 = (key or b"" for key in keys)  # membership admits no validator without them
        members.append(PolicyMember(member.name, member.jurisdiction, log, ed25519, mldsa44))
    return Policy.build(genesis.genesis.origin, genesis.genesis.network, members)


def _cast(validators: int, labs: int) -> Iterator[tuple[str, Role, str]]:
    """Yield name, role and jurisdiction of every node; no jurisdiction holds more than two validators (A11)."""
    for index in range(validators):
        again, place = divmod(index, len(JURISDICTIONS))
        code = JURISDICTIONS[place]
        yield f"institute-{code.lower()}{f'-{again + 1}' if again else ''}.example", Role.VALIDATOR, code
    for index in range(labs):
        yield f"lab-{index + 1}.example", Role.AUTHOR, JURISDICTIONS[(validators + index) % len(JURISDICTIONS)]


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ConfigError("TESTNET-02", f"{folder} is not empty", "name a folder that does not exist yet")
    except OSError as e:
        reason = (e.strerror or str(e)).lower()
        raise ConfigError("TESTNET-02", f"{folder} cannot be used: {reason}", "name another folder") from e


def _create_member(folder: Path, plan: _Plan, labs: int) -> Member:
    """Make a node's keys; return what the membership says of it."""
    voting = plan.role is Role.VALIDATOR
    public: dict[Purpose, bytes] = {}
    for purpose in _VALIDATOR_KEYS if voting else _LAB_KEYS:
        seed = create_key(folder / "keys", purpose, plan.name).seed
        kind = MlDsa44Key if purpose is Purpose.COSIGN_MLDSA44 else Ed25519Key
        public[purpose] = kind(seed).public
    return Member(
        plan.name,
        plan.role,
        plan.jurisdiction,
        network_key=public.get(Purpose.NETWORK),
        vote_key=public.get(Purpose.VOTE),
        log_key=public.get(Purpose.LOG),
        cosign_ed25519=public.get(Purpose.COSIGN_ED25519),
        cosign_mldsa44=public.get(Purpose.COSIGN_MLDSA44),
        author_key=public.get(Purpose.AUTHOR),
        governance_key=public.get(Purpose.GOVERNANCE),
        # Labs share a height; an institute's own entries are few: evidence and governance.
        quota_entries=BLOCK_ENTRIES_MAX if voting else HEIGHT_ENTRIES_MAX // max(labs, 1),
        quota_bytes=BLOCK_BYTES_MAX if voting else HEIGHT_BYTES_MAX // max(labs, 1),
    )


def _create_node(folder: Path, plan: _Plan, plans: Sequence[_Plan], genesis: NetworkGenesis) -> None:
    from glasslog_node.store.mark import create_mark, default_mark_path

    write_private_file(folder / "token", secrets.token_urlsafe(32) + "\n")
    peers = "\n".join(f'"{peer.name}" = "127.0.0.1:{peer.peer_port}"' for peer in plans if peer is not plan)
    text = f"""# Made by `glasslog testnet new`. Paths are relative to this file.
name = "{plan.name}"
data = "data"
genesis = "../genesis"
keys = "keys"

[network]
listen = "127.0.0.1:{plan.peer_port}"

[network.peers]
{peers}

[http]
bind = "127.0.0.1:{plan.http_port}"
token_file = "token"
"""
    (folder / "config.toml").write_text(text, encoding="ascii")
    # A store without its mark is taken for one that has lost its memory; this one has never said anything.
    create_mark(default_mark_path(folder / "data"), genesis.hash)


def _free_ports(needed: int, base: int | None) -> list[int]:
    """Return ports that are free now: consecutive ones from ``base``, or any.

    Any below those that the kernel gives to outgoing connections: such a connection could otherwise sit on the port
    of a node that is being restarted.
    """
    if base is not None and not 1024 <= base <= 65_536 - needed:
        raise ConfigError("TESTNET-03", f"{needed} ports from {base} do not exist", "use --base-port 20000")
    wanted = random.sample(PORTS, len(PORTS)) if base is None else range(base, base + needed)
    ports: list[int] = []
    with ExitStack() as open_sockets:
        for port in wanted:
            probe = open_sockets.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                if base is None:
                    continue
                fact = f"port {port} is in use"
                raise ConfigError("TESTNET-03", fact, "use another --base-port, or leave it out") from None
            ports.append(port)
            if len(ports) == needed:
                return ports
    raise ConfigError("TESTNET-03", f"fewer than {needed} ports are free", "stop other testnets")
