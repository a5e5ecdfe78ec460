"""Faults of how authors' blocks are held, named and appended (A9, and L6 to L8 of the log)."""

from __future__ import annotations

from mutants import liars
from mutants.mutant import Edit, Mutant
from mutants.worlds import FORKED, LOSSY, WITHHELD, lying

INBOX, SHELF, LEADER, FETCHER = (f"agreement/{name}.py" for name in ("inbox", "shelf", "leader", "fetcher"))

NEEDS_TEST = "it costs memory or time, never order: the simulation bounds neither"

MUTANTS = (
    Mutant(
        "says that it holds a block before that is durable",
        "A9",
        (
            Edit(
                INBOX,
                "        r.persist(HeldBlock(block.ref, body.header, body.entries))\n        r.hold(block)\n",
                "        r.hold(block)\n        self._note_haves()\n"
                "        r.persist(HeldBlock(block.ref, body.header, body.entries))\n",
            ),
        ),
        ("A9 ",),
    ),
    Mutant(
        "holds blocks in memory only",
        "A8",
        (Edit(INBOX, "        r.persist(HeldBlock(block.ref, body.header, body.entries))\n", ""),),
        ("A8 ", "A9 "),
    ),
    Mutant(
        "says that it holds a chain with a gap in it",
        "A9",
        (
            Edit(
                SHELF,
                "        while tip in children:\n            chain.append(children[tip])\n"
                "            tip = chain[-1].tip\n        return chain",
                "        return sorted(children.values(), key=lambda block: block.ref.seq)",
            ),
        ),
        ("A9 ",),
    ),
    Mutant(
        "refuses a branch because it holds the other side of a fork",
        "A9",
        (Edit(SHELF, "return named or len(self.siblings(ref)) < FORK_SIBLINGS_MAX", "return not self.siblings(ref)"),),
        ("LIVENESS",),
        FORKED,
    ),
    Mutant(
        "refuses a third side of a fork even when it is named",
        "A9",
        (Edit(SHELF, "return named or len(self.siblings(ref))", "return len(self.siblings(ref))"),),
        ("LIVENESS",),
        FORKED,
    ),
    Mutant(
        "holds every side of a fork",
        "A9",
        (Edit(SHELF, "return named or len(self.siblings(ref)) < FORK_SIBLINGS_MAX", "return True"),),
        ("failed",),
        test="tests/protocol/test_shelf.py::test_window_and_fork_limits_hold_but_not_for_what_is_named",
        needs=NEEDS_TEST,
    ),
    Mutant(
        "never puts an author to the back",
        "A9",
        (Edit(LEADER, "self._until[author] = view + 2 ** self._count[author]", "pass"),),
        ("failed",),
        test="tests/protocol/test_leader.py::test_penalty_doubles_and_is_forgiven",
        needs=NEEDS_TEST,
    ),
    Mutant(
        "fetches nothing",
        "A9",
        (Edit(FETCHER, "requests.append((sources[want.asked % len(sources)], want.request))", "pass"),),
        ("LIVENESS",),
        LOSSY,
        needs="only what is lost has to be fetched",
    ),
    Mutant(
        "asks one source for ever",
        "A9",
        (Edit(FETCHER, "sources[want.asked % len(sources)]", "sources[0]"),),
        ("LIVENESS",),
        WITHHELD,
        needs="a source that gives nothing",
    ),
    Mutant(
        "names blocks that it alone holds",
        "A9",
        (
            Edit(
                SHELF,
                "by_some = reach[self._support.some - 1] if len(reach) >= self._support.some else -1",
                "by_some = reach[0] if reach else -1",
            ),
        ),
        ("failed",),
        test="tests/protocol/test_shelf.py::test_single_have_or_haves_of_another_fork_name_nothing",
        needs="voters fetch from the leader: with an honest one it costs time, never order",
    ),
    Mutant(
        "appends a block that follows another",
        "L6",
        (Edit(SHELF, "if chain[-1].prev != tip.hash:", "if False:"),),
        ("L6 ", "A2 "),
        lying(liars.OffChain, forker="forking"),
        needs="a leader that names it",
    ),
    Mutant(
        "appends entries whose numbers do not follow",
        "L6",
        (Edit("ledger.py", "if block.first != next_entry:", "if False:"),),
        ("L6 ", "A2 "),
        lying(liars.OffChain, forker="misnumbering"),
        needs="a leader that names it",
    ),
    Mutant(
        "counts authors, not blocks, in the seal",
        "L7",
        (Edit("ledger.py", "membership.membership_hash, len(blocks))", "membership.membership_hash, len(tips))"),),
        ("L7 ", "A2 "),
    ),
    Mutant(
        "lets an author exceed its quota",
        "L8",
        (Edit("ledger.py", "if sum(block.count for block in chain) > author.quota_entries:", "if False:"),),
        ("failed",),
        test="tests/protocol/test_ledger.py::test_author_may_fill_its_quota_and_not_one_entry_more",
        needs="authors of the simulation write far less than their quota",
    ),
)
