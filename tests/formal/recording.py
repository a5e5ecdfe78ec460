"""What a simulated network's honest validators do, as events of specs/agreement_trace.qnt.

The recorder sits at the simulation's two seams. Where a replica is made, its answers to every event are seen as they
come: what it now knows. In the transcript they are seen as they are carried out: what is now durable and what has left.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from formal.tool import SPECS, relative
from glasslog.agreement.config import ReplicaConfig
from glasslog.agreement.durable import Durable
from glasslog.agreement.effects import (
    Broadcast,
    Effect,
    Event,
    FinalHeight,
    Now,
    OwnVote,
    Persist,
    Received,
    Record,
    SavedCertificate,
    SavedProposal,
    Send,
    StateRecovered,
)
from glasslog.agreement.messages import (
    FinalizedRun,
    Kind,
    Message,
    Proposal,
    RecoveryReply,
    SignedProposal,
    Vote,
)
from glasslog.agreement.replica import Replica
from simulation.cluster import Cluster, MakeReplica
from simulation.invariants import Violation
from simulation.swarm import Swarm
from simulation.transcript import Transcript

CHUNK = 16  # as in agreement_trace.qnt
MODELLED = (OwnVote, SavedCertificate, FinalHeight, StateRecovered)

Argument = int | bytes | bool | frozenset[int] | frozenset[tuple[int, int, bytes]] | tuple[bytes, ...]


@dataclass(frozen=True)
class Happening:
    """One event: digests are bytes still. ``names`` are those it needs to be proposed before."""

    at: int
    kind: str
    arguments: tuple[Argument, ...]
    names: tuple[bytes, ...] = ()


@dataclass
class Mirror:
    """What the recorder has seen become durable of one validator."""

    boots: int = 0
    chain: list[bytes] = field(default_factory=list[bytes])
    floor: int = 0
    votes: set[tuple[int, int, bytes]] = field(default_factory=set[tuple[int, int, bytes]])
    certificates: set[tuple[int, int, bytes]] = field(default_factory=set[tuple[int, int, bytes]])
    sent: set[tuple[int, int, bytes]] = field(default_factory=set[tuple[int, int, bytes]])

    def apply(self, record: Record) -> None:
        match record:
            case OwnVote(vote):
                self.votes.add((vote.view, vote.kind, vote.digest))
            case SavedCertificate(certificate):
                self.certificates.add((certificate.view, certificate.kind, certificate.digest))
            case FinalHeight():
                self.chain.append(record.digest)
                self.floor = record.proposal.view
                self.forget()
            case _:
                pass

    def forget(self) -> None:
        self.votes = {each for each in self.votes if each[0] > self.floor}
        self.certificates = {each for each in self.certificates if each[0] > self.floor}


class Recorder(Transcript):
    """Collects happenings, and every proposal that anybody was ever shown."""

    def __init__(self, base: MakeReplica) -> None:
        super().__init__()
        self.happenings: list[Happening] = []
        self.proposals: dict[bytes, Proposal] = {}
        self.cluster: Cluster | None = None  # known once it is made
        self._base = base
        self._mirrors: dict[int, Mirror] = {}
        self._boots: dict[bytes, int] = {}  # by nonce

    def _index(self, name: str) -> int | None:
        assert self.cluster is not None
        names = self.cluster.network.validators
        return names.index(name) if name in names and name in self.cluster.honest else None

    def _add(self, kind: str, *arguments: Argument, names: tuple[bytes, ...] = ()) -> None:
        assert self.cluster is not None
        last = self.happenings[-1] if self.happenings else None
        if kind == "Persists" and last is not None and last.kind == kind and last.arguments[0] == arguments[0]:
            count = last.arguments[1]
            assert isinstance(count, int)
            self.happenings[-1] = Happening(last.at, kind, (arguments[0], count + 1))
        else:
            self.happenings.append(Happening(self.cluster.now, kind, arguments, names))

    # --- a replica's life -------------------------------------------------------------------------

    def make(self, config: ReplicaConfig, durable: Durable) -> Replica:
        """Make a replica whose answers are seen."""
        replica = self._base(config, durable)
        index = self._index(config.name)
        if index is None:
            return replica
        self._booted(index, config.boot_nonce, durable)
        start, step = replica.start, replica.step

        def seen_start(now: Now) -> list[Effect]:
            effects = start(now)
            self._answered(index, replica, effects)
            return effects

        def seen_step(now: Now, event: Event) -> list[Effect]:
            recovery = replica.recovery
            known = {} if recovery is None else dict(recovery.replies)
            effects = step(now, event)
            for voter, reply in {} if recovery is None else recovery.replies.items():
                if known.get(voter) is not reply:
                    self._add("Hears", index, voter, 0 if reply.certificate is None else reply.certificate.view)
            self._answered(index, replica, effects)
            return effects

        replica.start, replica.step = seen_start, seen_step  # type: ignore[method-assign] # only this one is watched
        return replica

    def _booted(self, index: int, nonce: bytes, durable: Durable) -> None:
        mirror = self._mirrors.setdefault(index, Mirror())
        mirror.boots += 1
        self._boots[nonce] = mirror.boots
        if mirror.boots == 1:
            return
        votes = {(vote.view, int(vote.kind), vote.digest) for vote in durable.votes.values()}
        certificates = {(each.view, int(each.kind), each.digest) for each in durable.certificates.values()}
        same = (mirror.floor, mirror.votes, mirror.certificates) == (durable.floor.view, votes, certificates)
        if same and not durable.lost:
            self._add("Crashes", index)
            return
        chain = max((each.chain for each in self._mirrors.values()), key=len)[: durable.floor.height]
        mirror.chain, mirror.floor, mirror.votes, mirror.certificates = chain, durable.floor.view, votes, certificates
        self._add("Loses", index, tuple(chain), frozenset(votes), frozenset(certificates), durable.lost)

    def _answered(self, index: int, replica: Replica, effects: Iterable[Effect]) -> None:
        before = len(self.happenings)
        for effect in effects:
            match effect:
                case Persist(records):
                    self._noted(index, records)
                case Send(peer, RecoveryReply(nonce)) if nonce in self._boots:
                    asker = self._index(peer)
                    if asker is not None:
                        self._add("Replies", index, asker, self._boots[nonce])
                case _:
                    pass
        if len(self.happenings) > before:
            rounds = replica.tally.rounds.values()
            own, certified = (
                (sum(map(len, each)) for each in zip(*((r.own, r.certificates) for r in rounds), strict=True))
                if rounds
                else (0, 0)
            )
            self._add("Stands", index, replica.view, replica.branches.floor.view, own, certified)

    def _noted(self, index: int, records: Iterable[Record]) -> None:
        for record in records:
            match record:
                case SavedProposal(signed):
                    self._see(signed)
                case OwnVote(vote):
                    self._voted(index, vote)
                case SavedCertificate(certificate):
                    view, kind, digest = certificate.view, int(certificate.kind), certificate.digest
                    names = (digest,) if digest else ()
                    self._add("Learns", index, view, kind, digest, frozenset(certificate.signers), names=names)
                case FinalHeight():
                    self.proposals[record.digest] = record.proposal
                    self._add("Executes", index, record.digest, record.proposal.height, names=(record.digest,))
                case StateRecovered():
                    self._add("Recovers", index)
                case _:
                    pass

    def _voted(self, index: int, vote: Vote) -> None:
        assert self.cluster is not None
        match vote.kind:
            case Kind.NULLIFY:
                self._add("Nullifies", index, vote.view)
            case Kind.FINALIZE:
                self._add("Finalizes", index, vote.view, vote.digest, names=(vote.digest,))
            case Kind.NOTARIZE if vote.view % len(self.cluster.network.validators) == index:
                own = self.proposals[vote.digest]
                names = (own.parent_digest,)
                self._add("Proposes", index, vote.digest, own.view, own.parent_view, own.parent_digest, names=names)
            case Kind.NOTARIZE:
                self._add("Notarizes", index, vote.digest, names=(vote.digest,))

    # --- what becomes durable and leaves ----------------------------------------------------------

    def event(self, now: int, name: str, event: Event) -> None:
        if isinstance(event, Received):
            self._see(event.message)

    def effect(self, now: int, name: str, effect: Effect) -> None:
        index = self._index(name)
        if index is None:
            return
        match effect:
            case Persist(records):
                for record in records:
                    if isinstance(record, MODELLED):
                        self._mirrors[index].apply(record)
                        self._add("Persists", index, 1)
            case Broadcast(_, message) | Send(_, message):
                self._left(index, message)
            case _:
                pass

    def note(self, now: int, name: str, text: str) -> None:
        pass

    def _left(self, index: int, message: Message) -> None:
        match message:
            case Vote() if message.voter == index:
                vote = message.view, int(message.kind), message.digest
            case SignedProposal(proposal) if self.cluster is not None and (
                proposal.view % len(self.cluster.network.validators) == index
            ):
                vote = proposal.view, int(Kind.NOTARIZE), proposal.digest
            case _:
                return
        mirror = self._mirrors[index]
        if vote not in mirror.sent:
            mirror.sent.add(vote)
            self._add("Sends", index, *vote)

    def _see(self, message: Message) -> None:
        match message:
            case SignedProposal(proposal):
                self.proposals[proposal.digest] = proposal
            case FinalizedRun(proposals):
                self.proposals |= {proposal.digest: proposal for proposal in proposals}
            case _:
                pass


@dataclass(frozen=True)
class Trace:
    """One run's events in the model's words, the network they are of, and what the simulation's own oracle said."""

    swarm: Swarm
    faulty: frozenset[int]
    losers: frozenset[int]
    events: tuple[str, ...]
    violation: str | None

    @property
    def network(self) -> tuple[int, frozenset[int], frozenset[int]]:
        """Traces that agree on this can be checked together."""
        return self.swarm.validators, self.faulty, self.losers


def record(swarm: Swarm, base: MakeReplica = Replica) -> Trace:
    """Run a seed, up to a violation if there is one, and return what its honest validators did."""
    recorder = Recorder(base)
    cluster = recorder.cluster = Cluster(swarm, recorder.make, recorder)
    violation = None
    try:
        cluster.run()
    except Violation as found:
        violation = str(found)
    names = cluster.network.validators
    faulty = frozenset(names.index(name) for name in names if name not in cluster.honest)
    losers = frozenset(each.arguments[0] for each in recorder.happenings if each.kind == "Loses")
    events = _Wording(recorder, faulty, cluster.network.membership.genesis_hash).events()
    return Trace(swarm, faulty, frozenset(each for each in losers if isinstance(each, int)), tuple(events), violation)


class _Wording:
    """Numbers for digests, in the order in which they are named; a faulty leader's proposals where that is."""

    def __init__(self, recorder: Recorder, faulty: frozenset[int], genesis: bytes) -> None:
        self._recorder = recorder
        self._faulty = faulty
        self._numbers = {genesis: 0, b"": -1}
        self._proposed = {genesis}

    def events(self) -> Iterable[str]:
        for happening in self._recorder.happenings:
            for name in happening.names:
                yield from self._forged(name)
            if happening.kind == "Proposes":
                assert isinstance(happening.arguments[1], bytes)
                self._proposed.add(happening.arguments[1])
            said = ", ".join(map(self._say, happening.arguments))
            yield f"{happening.kind}({said})" if len(happening.arguments) == 1 else f"{happening.kind}(({said}))"

    def _forged(self, digest: bytes) -> Iterable[str]:
        proposal = self._recorder.proposals.get(digest)
        assert self._recorder.cluster is not None
        leader = None if proposal is None else proposal.view % len(self._recorder.cluster.network.validators)
        if proposal is None or digest in self._proposed or leader not in self._faulty:
            return
        self._proposed.add(digest)
        said = (digest, proposal.view, proposal.parent_view, proposal.parent_digest)
        yield f"Forges(({', '.join(map(self._say, said))}))"

    def _say(self, value: object) -> str:
        match value:
            case bool():
                return str(value).lower()
            case int():
                return str(int(value))
            case bytes():
                return str(self._numbers.setdefault(value, len(self._numbers) - 1))
            case frozenset():
                return f"Set({', '.join(map(self._say, sorted(value, key=repr)))})"
            case (int(), int(), bytes()):
                return f"({', '.join(map(self._say, value))})"
            case tuple():
                return f"[{', '.join(map(self._say, value))}]"
            case _:
                raise AssertionError(value)


def write_traces(folder: Path, traces: list[Trace]) -> Path:
    """A file with these traces as data of the module ``recorded``, and the model to follow them."""
    (network,) = {trace.network for trace in traces}
    validators, faulty, losers = network
    specs = relative(SPECS / "agreement_trace", folder)
    lines = [f'  import traceEvents.* from "{specs}"']
    for number, trace in enumerate(traces):
        chunks = [trace.events[at : at + CHUNK] for at in range(0, len(trace.events), CHUNK)]
        for at, chunk in enumerate(chunks):
            lines.append(f"  pure val t{number}_{at}: List[Event] = [{', '.join(chunk)}]")
        lines.append(
            f"  pure val t{number}: List[List[Event]] = [{', '.join(f't{number}_{at}' for at in range(len(chunks)))}]"
        )
    sets = [f"Set({', '.join(map(str, sorted(each)))})" for each in (faulty, losers)]
    names = ", ".join(f"t{number}" for number in range(len(traces)))
    lines.append(f"  pure val NETWORK = {{ n: {validators}, faulty: {sets[0]}, losers: {sets[1]}, traces: [{names}] }}")
    lines.append(f'  import conformance(RECORDED = NETWORK).* from "{specs}"')
    path = folder / "recorded.qnt"
    path.write_text("module recorded {\n" + "\n".join(lines) + "\n}\n")
    return path
