"""From a file of weights back to the data it was trained on, by what the ledger says and nothing else.

Nothing is remembered from the training: the file's SHA-256 is looked up in a copy of a replica, and the next digest to
look up is read from what is found. Every statement used is then proved by a bundle that ``glasslog verify`` verifies
offline, and has to be the one in the bundle.
"""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol, TypeVar

import trio

from glasslog.entry import StatementEntry, decode_leaf
from glasslog.predicates.base import Predicate, statement_id
from glasslog.predicates.dataset import Dataset
from glasslog.predicates.evaluation import Evaluation
from glasslog.predicates.evaluation_bar import EvaluationBar
from glasslog.predicates.model import Model
from glasslog.predicates.release import Release
from glasslog.predicates.replay import Replay
from glasslog.predicates.training_run import TrainingRun
from glasslog.predicates.training_segment import TrainingSegment
from glasslog.predicates.values import HEAD, RECORDS, STATEMENT, TENSORS, Commitment, Resource
from glasslog.statement import Statement, decode_statement, from_json
from glasslog_node.demo.commands import glasslog
from glasslog_node.errors import OperatingError
from glasslog_node.reader import StoreReader
from glasslog_node.store import Index, Store

_PROCESSES_MAX = 4
_P = TypeVar("_P", bound=Predicate)


@dataclass(frozen=True, slots=True)
class Found:
    """A statement as a verified bundle has it."""

    index: int
    statement: Statement
    bundle: Path


@dataclass(frozen=True, slots=True)
class Link:
    """One link: where it stands, what it is, what it says, and which digest leads from it to the next."""

    index: int
    kind: str
    says: str
    shows: str
    bundle: Path

    def to_value(self) -> dict[str, object]:
        """Return the link as JSON."""
        return {
            "index": self.index, "kind": self.kind, "says": self.says, "shows": self.shows, "bundle": str(self.bundle),
        }  # fmt: skip


@dataclass(slots=True)
class Lineage:
    """The links from the release to the data, in that order, and what the steps between come to."""

    file: str = ""
    links: list[Link] = field(default_factory=list[Link])
    steps: int = 0
    segments: int = 0
    verified: int = 0

    def to_value(self) -> dict[str, object]:
        """Return the lineage as JSON."""
        return {
            "file": self.file, "steps": self.steps, "segments": self.segments, "bundles_verified": self.verified,
            "links": [link.to_value() for link in self.links],
        }  # fmt: skip


async def follow(weights: Path, replica: Path, policy: Path, folder: Path) -> Lineage:
    """Follow a file of weights through a replica's copy back to its data sets; bundles are left in ``folder``.

    Raises:
        OperatingError: DEMO-08, a link is missing, ambiguous, or contradicts another.
        ProtocolError: PRED-nn, a statement is not what its type says.
    """
    digest = sha256(await trio.Path(weights).read_bytes()).digest()
    await trio.Path(folder).mkdir(exist_ok=True)
    with Store.open(replica, readonly=True) as store, closing(Index(replica.with_suffix(".index"))) as index:
        index.catch_up(store)
        follower = Follower(StoreReader(store), index, policy, folder)
        follower.follow(digest)
        return await follower.verify()


class Reader(Protocol):
    """The published log."""

    def entry(self, index: int) -> bytes | None:
        """Return a leaf."""
        ...

    def bundle(self, index: int) -> bytes:
        """Return the bundle of an entry."""
        ...


class Search(Protocol):
    """The log's search."""

    def by_subject(self, digest: bytes) -> list[int]:
        """Return the indices of the statements about this digest."""
        ...


class Follower:
    """Looks digests up, has what is found proved, and reads the next digest from it."""

    def __init__(self, reader: Reader, index: Search, policy: Path, folder: Path) -> None:
        self._reader = reader
        self._index = index
        self._policy = policy
        self._folder = folder
        self._found = dict[int, Found]()
        self.lineage = Lineage()

    def follow(self, file: bytes) -> None:
        """Follow the file with this SHA-256."""
        self.lineage.file = file.hex()
        released, release = self._one(Release, file, "the file's SHA-256")
        modelled, model = self._one(Model, file, "the file's SHA-256")
        self._need(_is_id(release.model, modelled), "the release is of another model's statement")
        content = _digest(model.content_root, TENSORS)
        self._add(
            released, "release", f"{release.purl}, {release.license}, placed {release.placed}",
            f"names model {modelled.index}, its run and its evaluation",
        )  # fmt: skip
        self._add(
            modelled, "model", f"{model.tensors} tensors, {model.parameters:,} parameters",
            f"the file's content root is {content.hex()[:8]}…",
        )  # fmt: skip
        run_head = _digest(release.runs[0] if release.runs else None, HEAD)
        first = self._segments(content, run_head)
        self._evaluation(release, content, run_head, first)
        self._run(run_head, first)

    async def verify(self) -> Lineage:
        """Verify the bundle of every statement that was used, offline, and return the lineage in the log's order."""
        limit = trio.CapacityLimiter(_PROCESSES_MAX)
        async with trio.open_nursery() as nursery:
            for found in self._found.values():
                nursery.start_soon(self._verify, found, limit)
        self.lineage.verified = len(self._found)
        self.lineage.links.sort(key=lambda link: link.index)
        return self.lineage

    def _segments(self, content: bytes, run: bytes) -> int:
        """Walk from the segment that ends with these weights back to the run; return where the first one stands."""
        lineage = self.lineage
        found, segment = self._last_segment(content, run)
        self._need(segment.closed == "finished", "the last segment does not end the run")
        lineage.steps, lineage.segments = segment.last_step, segment.number
        while True:
            previous, number, first_step = _digest(segment.previous_head, HEAD), segment.number, segment.first_step
            self._need(not segment.seams, f"segment {number} has a seam: {segment.seams}")
            self._need(
                segment.records > segment.last_step - first_step, f"segment {number} has fewer records than steps"
            )
            weights = _digest(segment.params_root, TENSORS).hex()[:8]
            said = f"steps {first_step} to {segment.last_step}, weights {weights}…"
            self._add(found, "segment", said, f"follows head {previous.hex()[:8]}…")
            if previous == run:
                self._need((number, first_step) == (1, 1), "the first segment does not begin with step 1")
                return found.index
            last = found.index
            found, segment = self._one(TrainingSegment, previous, f"the head before segment {number}")
            self._need(
                (segment.number, segment.last_step) == (number - 1, first_step - 1) and found.index < last,
                f"segment {number} does not follow the one it names",
            )

    def _last_segment(self, content: bytes, run: bytes) -> tuple[Found, TrainingSegment]:
        named = [
            (found, segment)
            for found, segment in self._all(TrainingSegment, content)
            if _digest(segment.run, HEAD) == run and _digest(segment.params_root, TENSORS) == content
        ]
        self._need(len(named) == 1, f"{len(named)} segments end with these weights")
        return named[0]

    def _evaluation(self, release: Release, content: bytes, run: bytes, first_segment: int) -> None:
        named = [one for one in self._all(Evaluation, content) if _is_id((release.evaluations or (None,))[0], one[0])]
        self._need(len(named) == 1, "the evaluation that the release rests on is not there")
        found, evaluation = named[0]
        met = "met" if evaluation.passed else "missed"
        self._add(
            found, "evaluation",
            f"{evaluation.metric} {evaluation.value}, {met} the bar of {evaluation.threshold}",
            f"of these weights, on {evaluation.sample_size} digits",
        )  # fmt: skip
        bars = [one for one in self._all(EvaluationBar, run) if _is_id(evaluation.bar, one[0])]
        self._need(len(bars) == 1 and bars[0][0].index < first_segment, "the bar was not set before the training")
        bar_found, bar = bars[0]
        self._add(bar_found, "bar", f"{bar.metric} at least {bar.threshold}", "set before the first update")
        tested, test = self._one(Dataset, _digest(evaluation.dataset, RECORDS), "the test set's records root")
        self._add(tested, "data set", f"{test.name}: {test.records} records, {test.license}", "what it was tested with")

    def _run(self, head: bytes, first_segment: int) -> None:
        found, run = self._one(TrainingRun, head, "the head of the empty chain")
        self._need(run.level == "L2" and found.index < first_segment, "not every update is committed")
        self._add(
            found, "training run", f"level L2, data order {_digest(run.data_order, 'sha256').hex()[:8]}…",
            "order, seed and first weights fixed before step 1",
        )  # fmt: skip
        for one in self._all(Replay, head):
            replay_found, replay = one
            done = ", ".join(self._numbers(replay))
            self._add(
                replay_found, "replay", f"segments {done} of {replay.segments} done again: {replay.outcome}",
                f"one bad one is found with p = {replay.detection_probability}",
            )  # fmt: skip
        trained, data = self._one(Dataset, _digest(run.datasets[0], RECORDS), "the data set's records root")
        self._add(trained, "data set", f"{data.name}: {data.records} records, {data.license}", "what it learned from")

    def _numbers(self, replay: Replay) -> list[str]:
        """Return which segments of the ledger a replay was of."""
        numbers = list[str]()
        for one in replay.sampled:
            _, segment = self._one(TrainingSegment, _digest(one.segment, HEAD), "a replayed segment's head")
            numbers.append(str(segment.number))
        return numbers

    def _one(self, kind: type[_P], digest: bytes, what: str) -> tuple[Found, _P]:
        found = self._all(kind, digest)
        self._need(len(found) == 1, f"{len(found)} statements of type {kind.NAME} for {what}, {digest.hex()[:16]}…")
        return found[0]

    def _all(self, kind: type[_P], digest: bytes) -> list[tuple[Found, _P]]:
        """Return every statement of one type that has ``digest`` as a subject."""
        indices = self._index.by_subject(digest)
        taken = [self._take(index) for index in indices]
        return [
            (found, kind.read(found.statement))
            for found in taken
            if found.statement["predicateType"] == kind.type_uri()
        ]

    def _take(self, index: int) -> Found:
        if index not in self._found:
            bundle = self._folder / f"{index}.bundle"
            bundle.write_bytes(self._reader.bundle(index))
            entry = decode_leaf(self._reader.entry(index) or b"")
            assert isinstance(entry, StatementEntry), "the index is of statements alone"
            self._found[index] = Found(index, decode_statement(entry.statement), bundle)
        return self._found[index]

    async def _verify(self, found: Found, limit: trio.CapacityLimiter) -> None:
        async with limit:
            answer = await glasslog("verify", str(found.bundle), "--policy", str(self._policy), "--json")
        value: dict[str, Any] = answer.value
        self._need(answer.status == 0, f"the bundle of log index {found.index}: {answer.complaint}")
        said = from_json(json.dumps(value["statement"]))
        self._need(
            (value["index"], said) == (found.index, found.statement), f"log index {found.index} is another entry"
        )

    def _add(self, found: Found, kind: str, says: str, shows: str) -> None:
        self.lineage.links.append(Link(found.index, kind, says, shows, found.bundle))

    @staticmethod
    def _need(held: bool, fact: str) -> None:
        if not held:
            raise OperatingError(
                "DEMO-08", f"the lineage breaks: {fact}", "read the entries in the log: glasslog prove"
            )


def _digest(resource: Resource | Commitment | None, name: str) -> bytes:
    digest = None if resource is None or resource.digest is None else resource.digest.get(name)
    if not isinstance(digest, bytes):
        raise OperatingError("DEMO-08", f"the lineage breaks: no {name} where one is due", "glasslog prove")
    return digest


def _is_id(resource: Resource | None, found: Found) -> bool:
    return resource is not None and _digest(resource, STATEMENT) == statement_id(found.statement)
