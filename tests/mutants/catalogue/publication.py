"""Faults on the way from a final height to a published checkpoint (L9 and L10)."""

from __future__ import annotations

from mutants import liars
from mutants.mutant import Edit, Mutant, swap
from mutants.worlds import JUMPING, STEADY_LOAD, lying

PUBLICATION, REPLICA, INBOX = (f"agreement/{name}.py" for name in ("publication", "replica", "inbox"))

NEEDS_TEST = "on the way here sizes only grow; this guards against our own errors elsewhere"

MUTANTS = (
    Mutant(
        "cosigns what it notarizes",
        "L9",
        (
            Edit(
                REPLICA,
                "            if plan is not None:\n                self._saved.add(digest)\n",
                "            if plan is not None:\n                self.cosign(plan.state, plan.state.time)\n"
                "                self._saved.add(digest)\n",
            ),
        ),
        ("L9 ",),
    ),
    Mutant(
        "cosigns a height before that is durable",
        "L9",
        (
            Edit(
                REPLICA,
                "        self.persist(record, *([DroppedBlocks(tuple(lost))] if lost else []))\n",
                "        self.cosign(plan.state, proposal.time)\n"
                "        self.persist(record, *([DroppedBlocks(tuple(lost))] if lost else []))\n",
            ),
        ),
        ("L9 ",),
    ),
    Mutant(
        "cosigns before the intent is durable",
        "L9",
        (
            swap(
                REPLICA,
                "self.persist(intent)",
                "self.emit(Cosign(intent.size, intent.root, intent.time))",
                indent=12,
            ),
        ),
        ("L9 ",),
    ),
    Mutant(
        "cosigns at moments of its own",
        "L9",
        (
            Edit(
                REPLICA,
                "        if not self.may_sign:\n            return\n        self.cosigned_at",
                "        if not self.may_sign or state.height % 4 != self.index:\n            return\n"
                "        self.cosigned_at",
            ),
        ),
        ("LIVENESS",),
        STEADY_LOAD,
        needs="heights that keep coming: else the proof of life makes up for it",
    ),
    Mutant(
        "cosigns at a time before its last",
        "L9",
        (Edit(PUBLICATION, "0 if last is None else last.time)", "0)"),),
        ("L9 ",),
        JUMPING,
        needs="clocks that go back",
    ),
    Mutant(
        "gives no proof of life",
        "L9",
        (Edit(INBOX, "            r.cosign(r.branches.state, r.branches.floor.time)\n", ""),),
        ("failed",),
        test="tests/protocol/test_replica.py::test_idle_validator_cosigns_again_as_proof_of_life",
        needs="whoever starts, or hears a status, brings what is missing; one seed in hundreds shows it",
    ),
    Mutant(
        "cosigns a smaller size",
        "L9",
        (Edit(PUBLICATION, "(size < last.size or (size == last.size", "((size == last.size"),),
        ("failed",),
        test="tests/protocol/test_publication.py::test_intent_never_shrinks_never_changes_root_and_time_never_goes_back",
        needs=NEEDS_TEST,
    ),
    Mutant(
        "cosigns another root of a size",
        "L9",
        (Edit(PUBLICATION, "(size == last.size and root != last.root)", "False"),),
        ("failed",),
        test="tests/protocol/test_publication.py::test_intent_never_shrinks_never_changes_root_and_time_never_goes_back",
        needs=NEEDS_TEST,
    ),
    Mutant(
        "publishes with one cosigner too few",
        "L10",
        (Edit(PUBLICATION, "if len(lines) < quorum or", "if len(lines) < quorum - 1 or"),),
        ("L10 ",),
    ),
    Mutant(
        "shows a checkpoint before it is durable",
        "L10",
        (
            swap(
                REPLICA,
                "self.persist(note)",
                "self.emit(CheckpointPublished(note.size, self.publication.roots[note.size]))",
                indent=12,
            ),
        ),
        ("L10 ",),
    ),
    Mutant(
        "believes cosignatures unseen",
        "L10",
        (Edit(PUBLICATION, "if not made_here and not self.cosigners.verify(cosignature):", "if False:"),),
        ("L9 ", "L10 "),
        lying(liars.ForgedCosignatures),
        needs="only forgeries try this rule",
    ),
    Mutant(
        "counts cosignatures of another root",
        "L10",
        (Edit(PUBLICATION, "if self.roots.get(size, cosignature.root) != cosignature.root:", "if False:"),),
        ("L10 ",),
        lying(liars.OtherRoots),
        needs="only a cosigner of another root tries this rule",
    ),
    Mutant(
        "keeps what was cosigned with another root before it was executed here",
        "L10",
        (Edit(PUBLICATION, "            if cosignature.root != root:\n", "            if False:\n"),),
        ("L10 ",),
        lying(liars.OtherRoots),
        needs="only a cosigner of another root tries this rule",
    ),
    Mutant(
        "publishes a size that it has not executed",
        "L10",
        (Edit(PUBLICATION, " or size not in self.roots or", " or"),),
        ("L10 ", "CRASH KeyError"),
    ),
    Mutant(
        "lets a published size shrink",
        "L10",
        (
            Edit(PUBLICATION, "for size in sorted(self.pool, reverse=True):", "for size in sorted(self.pool):"),
            Edit(
                PUBLICATION,
                "        if size > self.published_size:\n            return True\n",
                "        if size != self.published_size:\n            return True\n",
            ),
            Edit(
                PUBLICATION,
                "for at, by_voter in self.pool.items() if at >= size}",
                "for at, by_voter in self.pool.items()}",
            ),
        ),
        ("L10 ",),
    ),
)
