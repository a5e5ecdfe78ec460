"""A store loads exactly what the pure fold of its records gives (S3), whatever the records, groups and restarts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import example, given, settings
from hypothesis import strategies as st

from glasslog.agreement.durable import Durable
from glasslog.agreement.effects import (
    CosignIntent,
    DroppedBlocks,
    EvidenceFound,
    OwnVote,
    PublishedNote,
    Record,
    SavedCertificate,
    SavedProposal,
    StateRecovered,
)
from glasslog.agreement.messages import Kind
from glasslog.block import Block
from glasslog_node.store import Store, create_mark, default_mark_path
from node.store_world import AUTHORS, World, certificate, held, key, signed, vote

ACTIONS = (
    "block", "sibling", "drop", "final", "hold again", "vote", "proposal", "certificate",
    "intent", "published", "evidence", "recovered",
)  # fmt: skip
THEN = st.sampled_from(["", "commit", "reopen"])
NUMBER = st.sampled_from([0, 1, 1, 1, 2, 3])  # 1 is the view that the next height finalizes
STEPS = st.lists(st.tuples(st.sampled_from(ACTIONS), NUMBER, st.sampled_from(Kind), THEN), min_size=8, max_size=50)
EDGE = [  # own words at the very view that becomes final, and two certificates for it
    *[(action, number, Kind.FINALIZE, "") for action in ("vote", "proposal", "certificate") for number in (0, 1, 2)],
    ("final", 0, Kind.FINALIZE, "reopen"),
]
TWICE = [("certificate", number, Kind.FINALIZE, "commit") for number in (3, 2)]


class History:
    """Turns drawn actions into records that a replica could persist."""

    def __init__(self) -> None:
        self.world = World()
        self.open: list[Block] = []  # on the authors' chains, not final
        self.siblings: list[Block] = []

    def records(self, action: str, number: int, kind: Kind) -> Sequence[Record]:
        world, author = self.world, AUTHORS[number % 2]
        view = world.view + number  # also at the floor, where a late record may still come
        match action:
            case "block":
                self.open.append(world.block(author, number + 1))
                return [held(self.open[-1])]
            case "sibling":
                self.siblings.append(world.block(author, number + 2, prev=world.tip(author)))
                return [held(self.siblings[-1])]
            case "drop":
                dropped, self.siblings = self.siblings[:number], self.siblings[number:]
                return [DroppedBlocks(tuple(block.ref for block in dropped))]
            case "final":
                final, self.open = self.open[: number * 2], self.open[number * 2 :]
                return [world.final(final)]
            case "hold again":
                return [held(block) for block in self.open[:number]]
            case "vote":
                return [OwnVote(vote(view, kind, key(number)))]
            case "proposal":
                return [SavedProposal(signed(view, world.state.height + 1, number))]
            case _:
                return self._other(action, number, kind, view)

    def _other(self, action: str, number: int, kind: Kind, view: int) -> Sequence[Record]:
        match action:
            case "certificate":
                signers = (0, 1, 2) if number % 2 else (1, 2, 3)
                return [SavedCertificate(certificate(view, kind, key(number), signers=signers))]
            case "intent":
                return [CosignIntent(self.world.state.size, self.world.state.root, 10 + number)]
            case "published":
                return [PublishedNote(self.world.state.size, b"note %d" % number)]
            case "evidence":
                return [EvidenceFound(b"evidence %d" % number)]
            case _:
                return [StateRecovered(number)]


@given(STEPS)
@example(EDGE)
@example([*TWICE, ("final", 0, Kind.FINALIZE, ""), ("certificate", 2, Kind.FINALIZE, "reopen")])
@settings(max_examples=40, deadline=None)
def test_loading_equals_the_fold_of_everything_committed(steps: list[tuple[str, int, Kind, str]]) -> None:
    history = History()
    expected = Durable.fresh(history.world.genesis)
    waiting: list[Record] = []
    with TemporaryDirectory(prefix="store-") as folder:
        path = Path(folder) / "s"
        create_mark(default_mark_path(path), history.world.genesis_hash)
        store = Store.open(path, create=True, genesis=history.world.genesis)
        for action, number, kind, then in [*steps, ("block", 0, Kind.NOTARIZE, "reopen")]:
            waiting += history.records(action, number, kind)
            if then:
                store.commit(waiting)
                for record in waiting:
                    expected.apply(record)
                waiting = []
                assert store.load() == expected
            if then == "reopen":
                store.close()
                store = Store.open(path)
                assert store.load() == expected
        assert list(store.leaves(0, store.size)) == history.world.leaves
        assert store.hash_reader(store.size).root() == history.world.state.root
        store.close()
