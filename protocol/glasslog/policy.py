"""C2SP tlog-policy: whose signatures make a checkpoint believable, as a file people can read and pin.

Parsed and evaluated in full generality (nested groups, ``any``, ``all``, k), and written in one shape: for each
validator a 0x01 log line, an Ed25519 and an ML-DSA-44 witness line, a group of *any* of the two, and over these
groups ``bft`` with k = n - floor((n - 1) / 3). So a validator's two keys never count twice. ``Policy.bft``
refuses a file whose keys or quorum are not of that shape; ``NEXT_STEPS`` says what a person does about each code.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from glasslog.checkpoint import Checkpoint, Cosigner, check_line
from glasslog.errors import DecodeError, ProofError
from glasslog.identity import TYPE_COSIGNATURE_V1, TYPE_ED25519, TYPE_SUBTREE_V1, VerifierKey
from glasslog.note import Note, verify_note

if TYPE_CHECKING:
    from collections.abc import Sequence

POLICY_BYTES_MAX = 1 << 20
NONE = "none"
BFT_GROUP = "bft"
LOG_TYPES = (TYPE_ED25519, TYPE_SUBTREE_V1)
WITNESS_TYPES = (TYPE_COSIGNATURE_V1, TYPE_SUBTREE_V1)

_BAD_OCTET = re.compile(rb"[^\t\n\x20-\x7e\x80-\xff]")
_DECIMAL = re.compile("[1-9][0-9]{0,5}", re.ASCII)
_MEMBER = re.compile(r"([a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)@([A-Z]{2,8})", re.ASCII)

_FETCH = "fetch the policy again from where its fingerprints are published"
_ASK = "compare `glasslog trust show` with an institute you trust"
NEXT_STEPS = {
    "POLICY-01": _FETCH,
    "POLICY-02": "ask a node for a newer checkpoint, or for the current policy if the membership has changed",
    "POLICY-03": _FETCH,
    "POLICY-04": _FETCH,
    "POLICY-05": _FETCH,
    "POLICY-06": _FETCH,
    "POLICY-07": _FETCH,
    "POLICY-08": _FETCH,
    "POLICY-09": "check that the policy is this network's: " + _ASK,
    "POLICY-10": _ASK,
    "POLICY-11": _ASK,
}
"""What to do next, for each code this module raises."""


@dataclass(frozen=True, slots=True)
class Witness:
    """A cosigner's key under a name that is local to the file."""

    name: str
    key: VerifierKey
    url: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """At least ``threshold`` of ``members``, which are witnesses or earlier groups."""

    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a note's verified lines come to: log keys, names of witnesses and groups that cosigned, and the verdict.

    ``counted`` of the ``needed`` of ``known`` members of the quorum's group are satisfied.
    """

    satisfied: bool
    log_keys: tuple[VerifierKey, ...]
    cosigned: tuple[str, ...]
    counted: int
    needed: int
    known: int


@dataclass(frozen=True, slots=True)
class PolicyMember:
    """One validator of a policy: name, jurisdiction, and its raw public keys (32, 32 and 1,312 bytes)."""

    name: str
    jurisdiction: str
    log: bytes
    ed25519: bytes
    mldsa44: bytes


@dataclass(frozen=True, slots=True)
class Bft:
    """A policy of the written shape, as data: who the validators are, and how many of them suffice."""

    origin: str
    network: str
    quorum: int
    members: tuple[PolicyMember, ...]
    cosigners: tuple[Cosigner, ...]

    @property
    def keys(self) -> tuple[VerifierKey, ...]:
        """Every key, in the canonical order of note lines."""
        return tuple([key for each in self.cosigners for key in (each.log, each.ed25519, each.mldsa44)])


@dataclass(frozen=True, slots=True)
class Policy:
    """Logs, witnesses, groups (each after its members) and the name of the quorum, or ``none``."""

    logs: tuple[tuple[VerifierKey, str], ...]
    witnesses: tuple[Witness, ...]
    groups: tuple[Group, ...]
    quorum: str

    # --- files ------------------------------------------------------------------------------------

    @classmethod
    def parse(cls, data: bytes) -> Policy:
        """Return the policy of a file.

        Raises ``DecodeError``: ``POLICY-01`` octets or form of a line, ``-03`` key, ``-04`` key twice, ``-05`` name,
        ``-06`` reference, ``-07`` threshold, ``-08`` quorum line.
        """
        if len(data) > POLICY_BYTES_MAX:
            raise DecodeError("POLICY-01", f"a policy of {len(data)} bytes where {POLICY_BYTES_MAX} are the most")
        if bad := _BAD_OCTET.search(data):
            raise DecodeError("POLICY-01", f"octet {data[bad.start()]:#04x} at byte {bad.start()} is not allowed")
        if data and not data.endswith(b"\n"):
            raise DecodeError("POLICY-01", "the last line does not end in a newline")
        parser = _Parser()
        # Names are opaque octets (C2SP tlog-policy, "Character set"): surrogate escapes keep different ones different.
        for number, line in enumerate(data.decode("utf-8", "surrogateescape").split("\n"), 1):
            fields = [field for field in re.split("[ \t]+", line) if field]
            if fields and not fields[0].startswith("#"):
                parser.read(number, fields)
        return parser.finish()

    def format(self) -> bytes:
        """Return the canonical file: no comments, single spaces, logs, witnesses, groups, quorum."""
        lines = [" ".join(("log", key.format(), *([url] if url else []))) for key, url in self.logs]
        for witness in self.witnesses:
            url = [witness.url] if witness.url else []
            lines.append(" ".join(("witness", witness.name, witness.key.format(), *url)))
        for group in self.groups:
            threshold = "any" if group.threshold == 1 else str(group.threshold)
            lines.append(" ".join(("group", group.name, threshold, *group.members)))
        lines.append(f"quorum {self.quorum}")
        return ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")

    @classmethod
    def build(cls, origin: str, network: str, members: Sequence[PolicyMember]) -> Policy:
        """Return the policy glasslog writes for these validators; ``ValueError`` on names or keys that cannot be."""
        ordered = sorted(members, key=lambda member: member.name.encode())
        logs: list[tuple[VerifierKey, str]] = []
        witnesses: list[Witness] = []
        groups: list[Group] = []
        for member in ordered:
            label = f"{member.name}@{member.jurisdiction}"
            if not _MEMBER.fullmatch(label):
                raise ValueError(f"{label!r} is not a member's name and jurisdiction")
            cosigner = Cosigner.build(
                origin,
                f"{member.name}/{network}",
                log=member.log,
                ed25519=member.ed25519,
                mldsa44=member.mldsa44,
            )
            logs.append((cosigner.log, ""))
            witnesses += [Witness(f"{label}/ed", cosigner.ed25519), Witness(f"{label}/pq", cosigner.mldsa44)]
            groups.append(Group(label, 1, (f"{label}/ed", f"{label}/pq")))
        labels = tuple([group.name for group in groups])
        bft = Group(BFT_GROUP, compute_quorum(len(labels)), labels)
        return cls.parse(cls(tuple(logs), tuple(witnesses), (*groups, bft), BFT_GROUP).format())

    # --- evaluation -------------------------------------------------------------------------------

    def evaluate(self, note: Note, *, strict: bool = False) -> Evaluation:
        """Verify the checkpoint in ``note`` against every key, and count. A quorum not met is an answer, not an error.

        ``strict`` takes a policy of the written shape only, and a note without an unknown, repeated or misplaced line.
        Raises what ``Checkpoint.parse``, ``verify_note`` and, if ``strict``, ``bft`` raise.
        """
        checkpoint = Checkpoint.parse(note.text)
        keys = self.bft().keys if strict else self.keys
        verified = frozenset(verify_note(note, keys, check=check_line, strict=strict))
        log_keys = tuple([key for key, _ in self.logs if key in verified and key.name == checkpoint.origin])
        holds = {witness.name: witness.key in verified for witness in self.witnesses}
        tally = {name: (int(held), 1, 1) for name, held in holds.items()}
        for group in self.groups:
            counted = sum(holds[name] for name in group.members)
            holds[group.name] = counted >= group.threshold
            tally[group.name] = (counted, group.threshold, len(group.members))
        quorum_met = self.quorum == NONE or holds[self.quorum]
        cosigned = tuple([name for name, held in holds.items() if held])
        return Evaluation(bool(log_keys) and quorum_met, log_keys, cosigned, *tally.get(self.quorum, (0, 0, 0)))

    def check(self, note: Note, *, strict: bool = False) -> Evaluation:
        """Return a satisfied evaluation, or raise.

        ``ProofError`` ``POLICY-09`` where no log of this policy signed, ``POLICY-02`` where the quorum is not met;
        and what ``evaluate`` raises.
        """
        evaluation = self.evaluate(note, strict=strict)
        if not evaluation.log_keys:
            raise ProofError("POLICY-09", "the checkpoint carries no signature by a log of this policy")
        if not evaluation.satisfied:
            fact = f"{evaluation.counted} of {evaluation.known} known cosigners signed, {evaluation.needed} needed"
            raise ProofError("POLICY-02", fact)
        return evaluation

    @property
    def keys(self) -> tuple[VerifierKey, ...]:
        """Every key, logs first, as the file lists them."""
        return (*[key for key, _ in self.logs], *[witness.key for witness in self.witnesses])

    # --- the written shape ------------------------------------------------------------------------

    def bft(self) -> Bft:
        """Return the validators and quorum of a policy of the written shape.

        Raises ``ProofError``: ``POLICY-10`` where keys, names or groups are not of that shape, ``POLICY-11`` where k is
        not n - floor((n - 1) / 3).
        """
        *singles, bft = self.groups or (Group("", 0, ()),)
        if self.quorum != BFT_GROUP or bft.name != BFT_GROUP:
            raise ProofError("POLICY-10", "the quorum is not a last group named bft over one group for each validator")
        if bft.members != tuple([group.name for group in singles]):
            raise ProofError("POLICY-10", "bft does not name each validator's group once, in order")
        count = len(singles)
        if bft.threshold != compute_quorum(count):
            raise ProofError("POLICY-11", f"bft asks for {bft.threshold} of {count}, not for {compute_quorum(count)}")
        if len(self.logs) != count or len(self.witnesses) != 2 * count:
            fact = f"{len(self.logs)} log and {len(self.witnesses)} witness lines for {count} validators"
            raise ProofError("POLICY-10", fact)
        network = self.witnesses[0].key.name.partition("/")[2]
        origin = self.logs[0][0].name
        members: list[PolicyMember] = []
        for place, group in enumerate(singles):
            log, (ed25519, mldsa44) = self.logs[place][0], self.witnesses[2 * place : 2 * place + 2]
            members.append(_read_member(group, network, origin, (log, ed25519, mldsa44)))
        names = [member.name for member in members]
        if names != sorted(set(names)):
            raise ProofError("POLICY-10", "the validators are not in the order of their names, each once")
        cosigners = [
            Cosigner(self.logs[place][0], self.witnesses[2 * place].key, self.witnesses[2 * place + 1].key)
            for place in range(count)
        ]
        return Bft(origin, network, bft.threshold, tuple(members), tuple(cosigners))


def compute_quorum(count: int) -> int:
    """Return q = n - floor((n - 1) / 3) for n validators."""
    if count < 1:
        raise ValueError("a quorum of nobody")
    return count - (count - 1) // 3


def _read_member(group: Group, network: str, origin: str, lines: tuple[VerifierKey, Witness, Witness]) -> PolicyMember:
    """Return the validator of one group, its log line and its two witness lines."""
    log, ed25519, mldsa44 = lines
    label = _MEMBER.fullmatch(group.name)
    if label is None:
        raise ProofError("POLICY-10", f"group {group.name} is not named member@JURISDICTION")
    name = label[1]
    if group != Group(group.name, 1, (f"{group.name}/ed", f"{group.name}/pq")):
        raise ProofError("POLICY-10", f"group {group.name} is not any of its two keys")
    if [ed25519.name, mldsa44.name] != [*group.members]:
        raise ProofError("POLICY-10", f"the witness lines of {name} are missing or out of order")
    if [log.type, ed25519.key.type, mldsa44.key.type] != [TYPE_ED25519, TYPE_COSIGNATURE_V1, TYPE_SUBTREE_V1]:
        raise ProofError("POLICY-10", f"a key of {name} is not of the type its line is for")
    if {ed25519.key.name, mldsa44.key.name} != {f"{name}/{network}"} or log.name != origin:
        raise ProofError("POLICY-10", f"a key of {name} is named for another member, network or log")
    return PolicyMember(name, label[2], log.key, ed25519.key.key, mldsa44.key.key)


class _Parser:
    """Reads lines into tables; every name and key may be used up once."""

    def __init__(self) -> None:
        self._logs: list[tuple[VerifierKey, str]] = []
        self._witnesses: list[Witness] = []
        self._groups: list[Group] = []
        self._quorum: str | None = None
        self._names: set[str] = set()
        self._members: set[str] = set()
        self._keys: set[bytes] = set()
        self._key_ids: set[tuple[str, bytes]] = set()

    def read(self, number: int, fields: list[str]) -> None:
        match fields:
            case ["log", vkey, *url] if len(url) <= 1:
                self._logs.append((self._key(number, vkey, LOG_TYPES), "".join(url)))
            case ["witness", name, vkey, *url] if len(url) <= 1:
                self._define(number, name)
                self._witnesses.append(Witness(name, self._key(number, vkey, WITNESS_TYPES), "".join(url)))
            case ["group", name, threshold, *members] if members:
                self._group(number, name, threshold, members)
            case ["quorum", name]:
                if self._quorum is not None:
                    raise DecodeError("POLICY-08", f"line {number} is a second quorum line")
                if name != NONE:
                    self._refer(number, name)
                self._quorum = name
            case _:
                raise DecodeError("POLICY-01", f"line {number} is not a log, witness, group or quorum line")

    def finish(self) -> Policy:
        if self._quorum is None:
            raise DecodeError("POLICY-08", "no quorum line")
        return Policy(tuple(self._logs), tuple(self._witnesses), tuple(self._groups), self._quorum)

    def _key(self, number: int, vkey: str, types: tuple[int, ...]) -> VerifierKey:
        try:
            key = VerifierKey.parse(vkey)
        except DecodeError as error:
            raise DecodeError("POLICY-03", f"line {number}: {error.fact}") from error
        if key.type not in types:
            raise DecodeError("POLICY-03", f"line {number}: a key of type {key.type:#04x} does not belong there")
        # A raw key under two names would be one signer counted twice; and one that signs both as log and as
        # cosigner would let either kind of signature be asked for in the place of the other.
        if key.key in self._keys or (key.name, key.key_id) in self._key_ids:
            raise DecodeError("POLICY-04", f"line {number}: the key of {key.name} is listed twice")
        self._keys.add(key.key)
        self._key_ids.add((key.name, key.key_id))
        return key

    def _define(self, number: int, name: str) -> None:
        if name == NONE or name in self._names:
            raise DecodeError("POLICY-05", f"line {number} defines {_show(name)} again")
        self._names.add(name)

    def _refer(self, number: int, name: str) -> None:
        if name not in self._names:
            raise DecodeError("POLICY-06", f"line {number} refers to {_show(name)}, which no earlier line defines")

    def _group(self, number: int, name: str, threshold: str, members: list[str]) -> None:
        for member in members:
            self._refer(number, member)
            if member in self._members:
                raise DecodeError("POLICY-06", f"line {number} makes {_show(member)} a member a second time")
            self._members.add(member)
        words = {"any": 1, "all": len(members)}
        k = words.get(threshold) or (int(threshold) if _DECIMAL.fullmatch(threshold) else 0)
        if not 1 <= k <= len(members):
            raise DecodeError("POLICY-07", f"line {number} asks for {_show(threshold)} of {len(members)}")
        self._define(number, name)
        self._groups.append(Group(name, k, tuple(members)))


def _show(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()
