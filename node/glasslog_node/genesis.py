"""The genesis file: the log's first leaves, exactly, in a text that people can read and compare.

One header line, then one line per leaf in log order (specs/log.md, L1)::

    glasslog-genesis/v1 <network-name> <genesis-hash, hexadecimal>
    genesis <leaf, base64>
    validator institute-de.example DE <leaf, base64>
    author lab-1.example JP <leaf, base64>

The words before each leaf are for people. They cannot lie: a file is accepted only if it is, byte for byte,
what its own leaves print.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from glasslog.entry import Genesis, Member, MembershipLeaf, Role, encode_leaf
from glasslog.errors import ProtocolError
from glasslog.limits import LEAF_BYTES_MAX, MEMBERS_MAX
from glasslog.membership import Membership, read_genesis
from glasslog.merkle import hash_leaf, root
from glasslog_node.errors import ConfigError

_MAGIC = "glasslog-genesis/v1"
GENESIS_FILE_BYTES_MAX = 32 << 20
_ROLE_WORDS = {Role.VALIDATOR: "validator", Role.AUTHOR: "author", Role.OBSERVER: "observer"}
_OTHER_COPY = "fetch the genesis file again and compare its first line with another institute's"


@dataclass(frozen=True)
class NetworkGenesis:
    """A network as founded: its first leaves, and what they say."""

    leaves: tuple[bytes, ...]
    genesis: Genesis
    membership: Membership

    @property
    def hash(self) -> bytes:
        """The genesis-hash, which every signature in the network covers."""
        return self.membership.genesis_hash

    def member(self, name: str) -> Member:
        """Return the founding member of this name.

        Raises:
            ConfigError: GENESIS-04, there is none.
        """
        member = self.membership.member(name)
        if member is None:
            fact = f"{name} is not a member of {self.genesis.network}"
            raise ConfigError("GENESIS-04", fact, "check `name` and `genesis` in the configuration")
        return member


def found_network(network: str, origin: str, time: int, members: Sequence[Member]) -> NetworkGenesis:
    """Return a new network of these members; ``time`` is in milliseconds since 1970.

    Raises:
        AdmissionError: the members break a rule of membership, e.g. A11 on jurisdictions.
    """
    ordered = sorted(members, key=lambda member: member.name.encode())
    leaves = [encode_leaf(MembershipLeaf(1, member)) for member in ordered]
    committed = root(b"".join(map(hash_leaf, leaves)))
    first = encode_leaf(Genesis(network, origin, time, committed))
    return _read_leaves((first, *leaves))


def print_genesis(network: NetworkGenesis) -> str:
    """Return the text of the genesis file."""
    head = f"{_MAGIC} {network.genesis.network} {sha256(network.leaves[0]).hexdigest()}"
    lines = [head, f"genesis {base64.b64encode(network.leaves[0]).decode()}"]
    for member, leaf in zip(network.membership.members, network.leaves[1:], strict=True):
        words = f"{_ROLE_WORDS[member.role]} {member.name} {member.jurisdiction}"
        lines.append(f"{words} {base64.b64encode(leaf).decode()}")
    return "\n".join(lines) + "\n"


def parse_genesis(text: str) -> NetworkGenesis:
    """Return the network this text founds.

    Raises:
        ProtocolError: GENESIS-01 to GENESIS-03, MEMBER-nn or CBOR-nn, as ``read_genesis`` raises them.
        ConfigError: GENESIS-05, not a genesis file, or one that was edited.
    """
    lines = text.split("\n")
    if not lines[0].startswith(f"{_MAGIC} "):
        raise ConfigError("GENESIS-05", "not a genesis file of this version", _OTHER_COPY)
    if lines[-1] or not 3 <= len(lines) <= MEMBERS_MAX + 3:
        raise ConfigError("GENESIS-05", "cut off, or not a genesis and its members", _OTHER_COPY)
    network = _read_leaves(tuple(_leaf(number, line) for number, line in enumerate(lines[1:-1], 2)))
    if print_genesis(network) != text:
        raise ConfigError("GENESIS-05", "the text is not what its own leaves print", _OTHER_COPY)
    return network


def load_genesis(path: Path) -> NetworkGenesis:
    """Read and verify a genesis file.

    Raises:
        ConfigError: GENESIS-05 not such a file, GENESIS-06 unreadable, or any rule that its leaves break.
    """
    try:
        with path.open("rb") as file:
            data = file.read(GENESIS_FILE_BYTES_MAX + 1)
    except OSError as e:
        reason = (e.strerror or str(e)).lower()
        raise ConfigError("GENESIS-06", f"{path}: {reason}", "check `genesis` in the configuration") from e
    if len(data) > GENESIS_FILE_BYTES_MAX or not data.isascii():
        raise ConfigError("GENESIS-05", f"{path}: not a genesis file", _OTHER_COPY)
    try:
        return parse_genesis(data.decode("ascii"))
    except ProtocolError as e:
        raise ConfigError(e.code, f"{path}: {e.fact}", _OTHER_COPY) from e
    except ConfigError as e:
        raise ConfigError(e.code, f"{path}: {e.fact}", e.next_step) from e


def _leaf(number: int, line: str) -> bytes:
    try:
        leaf = base64.b64decode(line.rpartition(" ")[2], validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError("GENESIS-05", f"line {number} does not end in a base64 leaf", _OTHER_COPY) from None
    if len(leaf) > LEAF_BYTES_MAX:
        raise ConfigError("GENESIS-05", f"line {number}: a leaf of {len(leaf)} bytes", _OTHER_COPY)
    return leaf


def _read_leaves(leaves: tuple[bytes, ...]) -> NetworkGenesis:
    genesis, membership = read_genesis(leaves)
    return NetworkGenesis(leaves, genesis, membership)
