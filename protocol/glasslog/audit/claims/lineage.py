"""What a model comes from, as far as the log says: models, runs and data sets, upwards (Q5).

Every edge rests on statements, given by their log indices. What a statement names and the log has no statement of is
listed as missing: a lineage is complete only as far as authors stated it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum

from glasslog.audit.claims.ledger import Claim, Claims, digest_of
from glasslog.predicates.dataset import Dataset
from glasslog.predicates.model import Model
from glasslog.predicates.release import Release
from glasslog.predicates.training_run import TrainingRun
from glasslog.predicates.training_segment import TrainingSegment
from glasslog.predicates.values import HEAD, RECORDS, TENSORS, Resource


class Kind(Enum):
    """What a node of a lineage is; each is known by a digest of its own."""

    MODEL = "model"
    RUN = "training run"
    DATASET = "data set"

    @property
    def algorithm(self) -> str:
        """The digest that names it."""
        return {Kind.MODEL: TENSORS, Kind.RUN: HEAD, Kind.DATASET: RECORDS}[self]


@dataclass(frozen=True, slots=True, order=True)
class Node:
    """A model by content root, a run by the head of its empty chain, a data set by records root."""

    kind: Kind = field(compare=False)
    digest: bytes
    name: str = field(compare=False, default="")
    author: str = field(compare=False, default="")


@dataclass(frozen=True, slots=True)
class Edge:
    """``source`` went into ``target``, in the way of ``relation``, as the statement at ``index`` says."""

    source: bytes
    target: bytes
    relation: str
    index: int


@dataclass(slots=True)
class Lineage:
    """All that went into one model; ``missing`` says what has no statement, each with the index of who names it."""

    root: bytes
    nodes: dict[bytes, Node] = field(default_factory=dict[bytes, Node])
    edges: list[Edge] = field(default_factory=list[Edge])
    models: dict[bytes, list[Claim[Model]]] = field(default_factory=dict[bytes, list[Claim[Model]]])
    runs: dict[bytes, Claim[TrainingRun]] = field(default_factory=dict[bytes, Claim[TrainingRun]])
    datasets: dict[bytes, list[Claim[Dataset]]] = field(default_factory=dict[bytes, list[Claim[Dataset]]])
    missing: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])

    @property
    def indices(self) -> tuple[int, ...]:
        """The log indices of everything it rests on, in order."""
        found = {edge.index for edge in self.edges} | {run.index for run in self.runs.values()}
        found |= {claim.index for claims in self.models.values() for claim in claims}
        found |= {claim.index for claims in self.datasets.values() for claim in claims}
        return tuple(sorted(found))

    def to_value(self) -> dict[str, object]:
        """Return the JSON object of a report, in the order in which things were come upon."""
        nodes = [
            {"kind": one.kind.value, "digest": one.digest.hex(), "name": one.name or None, "author": one.author or None}
            for one in self.nodes.values()
        ]
        edges = [
            {"source": one.source.hex(), "target": one.target.hex(), "relation": one.relation, "index": one.index}
            for one in self.edges
        ]
        missing = [{"fact": fact, "named_at": None if index < 0 else index} for fact, index in self.missing]
        return {"nodes": nodes, "edges": edges, "missing": missing}


def list_segments(claims: Claims, run: Claim[TrainingRun]) -> list[Claim[TrainingSegment]]:
    """Return a run's segments, by its own author, each once, by number and then as logged."""
    found: dict[bytes, Claim[TrainingSegment]] = {}
    for claim in claims.mentioning(TrainingSegment, HEAD, run.digest(HEAD)):
        if claim.author == run.author and digest_of(claim.said.run, HEAD) == run.digest(HEAD):
            found.setdefault(claim.id, claim)
    return sorted(found.values(), key=lambda claim: (claim.said.number, claim.index))


def find_runs(claims: Claims, head: bytes | None) -> list[Claim[TrainingRun]]:
    """Return the runs that a head names: a run by its own, or by the head of one of its segments."""
    runs = claims.of(TrainingRun, HEAD, head)
    for segment in claims.of(TrainingSegment, HEAD, head):
        owners = claims.of(TrainingRun, HEAD, digest_of(segment.said.run, HEAD))
        runs += [run for run in owners if run.author == segment.author and run not in runs]
    return runs


def list_data(claims: Claims, run: Claim[TrainingRun]) -> list[tuple[bytes, Claim[Dataset] | None]]:
    """Return the records roots that a run declares, each with the first statement of that data set, if any."""
    roots = [root for one in run.said.datasets if (root := digest_of(one, RECORDS)) is not None]
    return [(root, next(iter(claims.of(Dataset, RECORDS, root)), None)) for root in roots]


def list_outputs(claims: Claims, run: Claim[TrainingRun]) -> set[bytes]:
    """Return the content roots that a run's segments state, after a segment or at a checkpoint."""
    found: set[bytes | None] = set()
    for segment in list_segments(claims, run):
        found |= {digest_of(segment.said.params_root, TENSORS), digest_of(segment.said.checkpoint, TENSORS)}
        found |= set(segment.digests(TENSORS))
    return {root for root in found if root is not None}


def makers(claims: Claims, root: bytes) -> list[tuple[Claim[TrainingRun], int]]:
    """Return the runs that gave a model, by their segments or by a release, with the index of what says so."""
    found: dict[int, tuple[Claim[TrainingRun], int]] = {}
    for segment in claims.of(TrainingSegment, TENSORS, root):
        for run in find_runs(claims, digest_of(segment.said.run, HEAD)):
            if run.author == segment.author:
                found.setdefault(run.index, (run, segment.index))
    for release in claims.of(Release, TENSORS, root):
        for one in release.said.runs:
            for run in find_runs(claims, digest_of(one, HEAD)):
                found.setdefault(run.index, (run, release.index))
    return list(found.values())


def trace(claims: Claims, root: bytes) -> Lineage:
    """Follow a model upwards, each thing once, so that statements which name one another in a circle end it too."""
    lineage = Lineage(root)
    lineage.nodes[root] = Node(Kind.MODEL, root)
    waiting = deque([(Kind.MODEL, root)])
    while waiting:
        kind, digest = waiting.popleft()
        match kind:
            case Kind.MODEL:
                above = _above_model(claims, lineage, digest)
            case Kind.RUN:
                above = _above_run(lineage, digest)
            case Kind.DATASET:
                above = _above_dataset(claims, lineage, digest)
        for above_kind, source, relation, index in above:
            lineage.edges.append(Edge(source, digest, relation, index))
            if source not in lineage.nodes:
                lineage.nodes[source] = Node(above_kind, source)
                waiting.append((above_kind, source))
    return lineage


_Above = list[tuple[Kind, bytes, str, int]]


def _above_model(claims: Claims, lineage: Lineage, root: bytes) -> _Above:
    found: _Above = []
    models = lineage.models[root] = claims.of(Model, TENSORS, root)
    if models:
        lineage.nodes[root] = Node(Kind.MODEL, root, models[0].said.name, models[0].author)
    else:
        lineage.missing.append((f"model {root.hex()[:16]} has no statement", _named_by(lineage, root)))
    for model in models:
        for base in model.said.base_model:
            relation = model.said.base_model_relation or "base model"
            _add(lineage, found, Kind.MODEL, base, relation, model.index)
    for run, index in makers(claims, root):
        head = run.digest(HEAD)
        if head is not None:
            lineage.runs.setdefault(head, run)
            found.append((Kind.RUN, head, "trained by", index))
    return found


def _above_run(lineage: Lineage, head: bytes) -> _Above:
    found: _Above = []
    run = lineage.runs[head]
    lineage.nodes[head] = Node(Kind.RUN, head, run.said.name, run.author)
    if run.said.parent is not None:
        _add(lineage, found, Kind.MODEL, run.said.parent, "continued from", run.index)
    for one in run.said.datasets:
        _add(lineage, found, Kind.DATASET, one, "trained on", run.index)
    return found


def _above_dataset(claims: Claims, lineage: Lineage, root: bytes) -> _Above:
    found: _Above = []
    datasets = lineage.datasets[root] = claims.of(Dataset, RECORDS, root)
    if datasets:
        lineage.nodes[root] = Node(Kind.DATASET, root, datasets[0].said.name, datasets[0].author)
    else:
        lineage.missing.append((f"data set {root.hex()[:16]} has no statement", _named_by(lineage, root)))
    for dataset in datasets:
        for one in dataset.said.derived_from:
            _add(lineage, found, Kind.DATASET, one, "made from", dataset.index)
        for one in dataset.said.generated_by:
            _add(lineage, found, Kind.MODEL, one, "generated by", dataset.index)
    return found


def _add(lineage: Lineage, found: _Above, kind: Kind, what: Resource, relation: str, index: int) -> None:
    digest = digest_of(what, kind.algorithm)
    if digest is None:
        name = what.name or what.uri or "something without a name"
        lineage.missing.append((f"{kind.value} {name} is named without its {kind.algorithm}", index))
    else:
        found.append((kind, digest, relation, index))


def _named_by(lineage: Lineage, digest: bytes) -> int:
    """Return the index of the statement that names it, -1 where it is what was asked for."""
    return next((edge.index for edge in lineage.edges if edge.source == digest), -1)
