"""Faults of what is said again (A7), of what is durable before it is said (A8), and of what counts as work (A12)."""

from __future__ import annotations

from mutants.mutant import Edit, Mutant, swap
from mutants.worlds import LAST_WORDS, LOSSY, SILENT, STORMS

REPLICA, INBOX, VIEW, TALLY = "agreement/replica.py", "agreement/inbox.py", "agreement/view.py", "agreement/tally.py"
DURABLE = "agreement/durable.py"

NEEDS_STORM = "only a crash of everybody loses what nobody else still says"
NEEDS_LOSS = "only what is lost has to be said again"


MUTANTS = (
    Mutant(
        "says nothing again on standstill",
        "A7",
        (
            Edit(
                REPLICA,
                "        for message in self.unfinished():\n            self.broadcast(message)\n",
                "",
            ),
        ),
        ("LIVENESS",),
        LOSSY,
        needs=NEEDS_LOSS,
    ),
    Mutant(
        "says its own votes only once",
        "A7",
        (Edit(VIEW, ", *(vote for _, vote in sorted(self.own.items()))]", "]"),),
        ("LIVENESS",),
        LOSSY,
        needs=NEEDS_LOSS,
    ),
    Mutant(
        "passes no certificate on",
        "A7",
        (
            Edit(
                REPLICA,
                "        self.broadcast(certificate, Audience.MEMBERS if is_final else Audience.VALIDATORS)\n",
                "",
            ),
        ),
        ("failed",),
        test="tests/mutants/test_rules.py::test_certificate_is_passed_on_when_it_is_first_received",
        needs="votes go to everybody and statuses repeat: whoever passes nothing on is only late",
    ),
    Mutant(
        "keeps one certificate a view",
        "A7",
        (
            Edit(
                TALLY,
                "        known = round_.certificates.get(certificate.kind)\n"
                "        if known is not None:\n            clash",
                "        known = next(iter(round_.certificates.values()), None)\n"
                "        if known is not None:\n            clash",
            ),
        ),
        ("AGREE-01 ", "LIVENESS"),
    ),
    Mutant(
        "sends a vote before it is durable",
        "A8",
        (swap(REPLICA, "self.persist(*records, OwnVote(vote))", "self.broadcast(vote)"),),
        ("A8 ",),
    ),
    Mutant(
        "sends a proposal before it is durable",
        "A8",
        (
            swap(
                REPLICA,
                "self.persist(SavedProposal(signed), OwnVote(vote))",
                "self.broadcast(signed, Audience.MEMBERS)",
            ),
        ),
        ("A8 ",),
    ),
    Mutant(
        "keeps no nullify vote",
        "A8",
        (
            Edit(
                REPLICA,
                "self.persist(*records, OwnVote(vote))",
                "self.persist(*records, *([OwnVote(vote)] if vote.kind is not Kind.NULLIFY else []))",
            ),
        ),
        ("A8 ",),
    ),
    Mutant(
        "keeps no finalize vote",
        "A8",
        (
            Edit(
                REPLICA,
                "self.persist(*records, OwnVote(vote))",
                "self.persist(*records, *([OwnVote(vote)] if vote.kind is not Kind.FINALIZE else []))",
            ),
        ),
        ("A8 ",),
    ),
    Mutant(
        "keeps its vote and not the proposal",
        "A8",
        (
            Edit(
                REPLICA,
                "self._sign(Kind.NOTARIZE, self.view, digest), SavedProposal(signed))",
                "self._sign(Kind.NOTARIZE, self.view, digest))",
            ),
        ),
        ("A8 ",),
    ),
    Mutant(
        "keeps its vote and not what justifies it",
        "A8",
        (Edit(REPLICA, "        self.persist(SavedCertificate(certificate))\n", ""),),
        ("A8 ",),
    ),
    Mutant(
        "does not count its own votes after a restart",
        "A8",
        (Edit(REPLICA, "completed, _ = self.tally.add_vote(vote)", "completed = None"),),
        ("LIVENESS",),
        STORMS,
        needs=NEEDS_STORM,
    ),
    Mutant(
        "signs anew after a restart",
        "A8",
        (Edit(REPLICA, "            self.tally.round(vote.view).own[vote.kind] = vote\n", ""),),
        ("A8 ", "A1 ", "A2 ", "A3 ", "A4 "),
    ),
    Mutant(
        "moves the floor and not the authors' tips",
        "A8",
        (Edit(DURABLE, "        self.frontier.update(dict(record.tips))\n", ""),),
        ("A8 ", "L8 ", "L6 ", "A9 ", "LIVENESS", "PROPOSAL-05 ", "AGREE-0"),
    ),
    Mutant(
        "moves the tree and not the floor",
        "A8",
        (
            Edit(
                DURABLE,
                "        self.floor = Floor(proposal.epoch, view, proposal.height, record.digest, proposal.time)\n",
                "",
            ),
        ),
        ("A8 ", "A5 "),
    ),
    Mutant(
        "shows a height before it is durable",
        "A8",
        (
            Edit(
                REPLICA,
                "        self.persist(record, *([DroppedBlocks(tuple(lost))] if lost else []))\n",
                "        self.emit(Finalized(proposal.height, 0, digest, proposal.time, blocks))\n"
                "        self.persist(record, *([DroppedBlocks(tuple(lost))] if lost else []))\n",
            ),
        ),
        ("A8 ",),
    ),
    Mutant(
        "sees no work in blocks that f+1 hold",
        "A12",
        (Edit(REPLICA, "if self.shelf.has_work(self.branches.state.frontier):", "if False:"),),
        ("LIVENESS",),
        SILENT,
    ),
    Mutant(
        "never finishes a notarized tail",
        "A12",
        (Edit(REPLICA, "            if view == floor.view:\n", "            if True:\n"),),
        ("LIVENESS",),
        LAST_WORDS,
        needs="nothing new after healing, and a last view that some nullified",
    ),
    Mutant(
        "says once what it holds",
        "A12",
        (
            Edit(
                INBOX,
                "            haves = self._own_haves()\n            if haves:\n"
                "                r.broadcast(Have(haves))\n",
                "",
            ),
        ),
        ("LIVENESS",),
        LOSSY,
        needs=NEEDS_LOSS,
    ),
    Mutant(
        "takes a vote for no news",
        "A12",
        (
            Edit(
                INBOX,
                "        r.tally.verify_vote(vote)\n        r.count_vote(vote)\n        return True",
                "        r.tally.verify_vote(vote)\n        r.count_vote(vote)\n        return False",
            ),
        ),
        ("failed",),
        test="tests/simulation/test_quiet_steps.py",
        needs="the next status makes up for it within two seconds",
    ),
)
