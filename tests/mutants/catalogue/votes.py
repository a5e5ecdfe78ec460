"""Faults of the voting rules A1 to A6, and of what a vote signs (A15, A16, A17)."""

from __future__ import annotations

from mutants import liars
from mutants.mutant import Edit, Mutant
from mutants.worlds import FIVE, LATE, SILENT, lying

REPLICA, VIEW, TALLY = "agreement/replica.py", "agreement/view.py", "agreement/tally.py"
BRANCHES, MESSAGES = "agreement/branches.py", "agreement/messages.py"

NEEDS_LIE = "only a leader that lies tries this rule"


def signs(name: str, field: str, instead: str) -> Mutant:
    """A vote that does not sign one of the things it is for."""
    right = "[VOTE_DOMAIN, genesis_hash, epoch, view, int(kind), digest]"
    return Mutant(name, "A16", (Edit(MESSAGES, right, right.replace(field, instead)),), ("A16 ", "A17 ", "A14 "))


MUTANTS = (
    Mutant(
        "notarizes a second proposal of a view",
        "A1",
        (
            Edit(REPLICA, "if not self.may_sign or Kind.NOTARIZE in round_.own:", "if not self.may_sign:"),
            Edit(
                REPLICA,
                "if digest in round_.refused or not round_.may_notarize(digest):",
                "if digest in round_.refused or digest in self._saved:",
            ),
            Edit(REPLICA, "        assert kind not in round_.own, ", "        assert True, "),
            Edit(REPLICA, "assert kind is not Kind.NOTARIZE or round_.may_notarize(digest)", "pass"),
        ),
        ("A1 ",),
    ),
    Mutant(
        "notarizes on a parent whose certificate it lacks",
        "A2",
        (Edit(REPLICA, "                lacking.append(parent)\n", "                pass\n"),),
        ("A2 ", "A8 "),
        lying(liars.HiddenCertificates),
        needs="a leader that alone holds its parent's certificate and shows nobody",
    ),
    Mutant(
        "notarizes on a parent other than the certified one",
        "A2",
        (Edit(REPLICA, "elif certificate.digest != proposal.parent_digest:", "elif False:"),),
        ("A2 ",),
        lying(liars.TwinParent, validators=7),
        needs="two faulty leaders in a row: one makes two proposals, the next builds on the wrong one",
    ),
    Mutant(
        "needs no certificate of the views skipped",
        "A2",
        (Edit(REPLICA, "lacking += [view for view in skipped if", "lacking += [view for view in () if"),),
        ("A2 ", "A8 "),
    ),
    Mutant(
        "needs no certificate of the first view skipped",
        "A2",
        (Edit(REPLICA, "skipped = range(parent + 1, proposal.view)", "skipped = range(parent + 2, proposal.view)"),),
        ("A2 ", "A8 "),
    ),
    Mutant(
        "needs no certificate of the last view skipped",
        "A2",
        (
            Edit(
                REPLICA, "skipped = range(parent + 1, proposal.view)", "skipped = range(parent + 1, proposal.view - 1)"
            ),
        ),
        ("A2 ", "A8 "),
    ),
    Mutant(
        "lets a height be left out",
        "A2",
        (Edit(BRANCHES, "if proposal.height != parent.height + 1:", "if False:"),),
        ("A8 ", "A2 "),
        lying(liars.WrongHeight),
        needs=NEEDS_LIE,
    ),
    Mutant(
        "lets time stand still",
        "A2",
        (Edit(BRANCHES, "if proposal.time <= parent.time:", "if proposal.time < parent.time:"),),
        ("A2 ",),
        lying(liars.OldTime),
        needs=NEEDS_LIE,
    ),
    Mutant(
        "notarizes a time of the future",
        "A2",
        (Edit(REPLICA, "if self.branches.is_ahead(proposal, self.now.wall):", "if False:"),),
        ("failed",),
        test="tests/protocol/test_replica.py::test_clock_ahead_costs_the_view_and_nobody_is_called_faulty",
        needs="the oracle knows no right time: clocks of the swarm are wrong on purpose",
    ),
    Mutant(
        "does not recompute the size",
        "A2",
        (
            Edit(
                BRANCHES,
                "(plan.state.size, plan.state.root) != (proposal.size, proposal.root)",
                "plan.state.root != proposal.root",
            ),
        ),
        ("L8 ", "A2 "),
        lying(liars.WrongSize),
        needs=NEEDS_LIE,
    ),
    Mutant(
        "does not recompute the root",
        "A2",
        (
            Edit(
                BRANCHES,
                "(plan.state.size, plan.state.root) != (proposal.size, proposal.root)",
                "plan.state.size != proposal.size",
            ),
        ),
        ("L8 ", "A2 "),
        lying(liars.WrongRoot),
        needs=NEEDS_LIE,
    ),
    Mutant(
        "notarizes a view that it nullified",
        "A2",
        (Edit(VIEW, "if Kind.NULLIFY in self.own:\n            return False", "if False:\n            return False"),),
        ("A2 ",),
    ),
    Mutant(
        "finalizes a view that it nullified",
        "A3",
        (
            Edit(
                VIEW,
                "return Kind.NOTARIZE in self.certificates and Kind.NULLIFY not in self.own",
                "return Kind.NOTARIZE in self.certificates",
            ),
        ),
        ("A3 ",),
    ),
    Mutant(
        "finalizes what it notarized without waiting for the certificate",
        "A3",
        (
            Edit(
                VIEW,
                "return Kind.NOTARIZE in self.certificates and",
                "return (Kind.NOTARIZE in self.certificates or Kind.NOTARIZE in self.own) and",
            ),
            Edit(
                REPLICA,
                "round_.certificates[Kind.NOTARIZE].digest))",
                "(round_.certificates | round_.own)[Kind.NOTARIZE].digest))",
            ),
        ),
        ("A3 ",),
    ),
    Mutant(
        "nullifies a view that it finalized",
        "A4",
        (
            Edit(VIEW, "return Kind.FINALIZE not in self.own", "return True"),
            # An own finalize comes with a certificate to leave the view on. Only who stays can break A4.
            Edit(VIEW, "return bool(self.certificates)", "return bool(self.certificates.keys() - {Kind.NOTARIZE})"),
        ),
        ("A4 ",),
        needs="A6 weakened with it: whoever leaves a view on its notarize certificate is never asked again",
    ),
    Mutant(
        "signs below the floor",
        "A5",
        (
            Edit(
                TALLY,
                "        self.floor_view = floor_view\n        self.rounds = {view: ",
                "        self.rounds = {view: ",
            ),
        ),
        ("A5 ", "A8 "),
        LATE,
        needs="messages that come seconds late",
    ),
    Mutant(
        "forgets its floor in a restart",
        "A5",
        (Edit(REPLICA, "config.verify, durable.floor.view)", "config.verify, 0)"),),
        ("A5 ", "A8 "),
    ),
    Mutant(
        "does not leave a view that was notarized",
        "A6",
        (Edit(VIEW, "return bool(self.certificates)", "return bool(self.certificates.keys() - {Kind.NOTARIZE})"),),
        ("LIVENESS",),
    ),
    Mutant(
        "starts the timer of a view again and again",
        "A6",
        (Edit(REPLICA, "        if self._timer is None:\n", "        if True:\n"),),
        ("LIVENESS",),
    ),
    Mutant(
        "has timers without a cap",
        "A6",
        (Edit("agreement/config.py", "return min(self.timeout_max, int(", "return max(0, int("),),
        ("failed",),
        test="tests/mutants/test_rules.py::test_timer_is_capped",
    ),
    Mutant(
        "needs one vote too few",
        "A15",
        (
            Edit(
                "membership.py",
                "return validators - faults_tolerated(validators)",
                "return validators - faults_tolerated(validators) - 1",
            ),
        ),
        ("A15 ",),
    ),
    Mutant(
        "needs one vote too many",
        "A15",
        (
            Edit(
                "membership.py",
                "return validators - faults_tolerated(validators)",
                "return validators - faults_tolerated(validators) + 1",
            ),
        ),
        ("LIVENESS",),
        SILENT,
    ),
    Mutant(
        "takes 2f+1 for a quorum",
        "A15",
        (
            Edit(
                "membership.py",
                "return validators - faults_tolerated(validators)",
                "return 2 * faults_tolerated(validators) + 1",
            ),
        ),
        ("A15 ",),
        FIVE,
        needs="n = 5 or 6: at 4 and 7 both are the same number",
    ),
    Mutant(
        "counts votes for different proposals together",
        "A15",
        (Edit(VIEW, "self.votes[kind].items() if vote.digest == digest}", "self.votes[kind].items()}"),),
        ("A8 ", "A14 ", "A15 ", "VOTE-02 "),
    ),
    Mutant(
        "accepts certificates of too few signers",
        "A15",
        (Edit(TALLY, "if len(certificate.signers) < self._membership.quorum:", "if False:"),),
        ("A15 ",),
        lying(liars.ThinCertificates),
        needs="only who sends such certificates tries this rule",
    ),
    Mutant(
        "accepts certificates with one signer twice",
        "A15",
        (Edit(MESSAGES, "any(a >= b for a, b in pairwise(indices))", "any(a > b for a, b in pairwise(indices))"),),
        ("failed",),
        test="tests/protocol/test_messages.py::test_messages_beyond_a_rule_are_refused",
        needs="the simulation hands messages over as objects; this is judged as they are decoded",
    ),
    Mutant(
        "does not check who signed a vote",
        "A15",
        (Edit(TALLY, "if not self._verify(", "if False and not self._verify("),),
        ("A14 ", "A8 ", "A15 "),
        lying(liars.ForgedVotes),
        needs="only forgeries try this rule",
    ),
    Mutant(
        "does not check who signed a proposal",
        "A15",
        (Edit("agreement/inbox.py", "        r.tally.verify_vote(vote)\n        round_ =", "        round_ ="),),
        ("A14 ", "A8 ", "A15 "),
        lying(liars.ForgedProposals),
        needs="only forgeries try this rule",
    ),
    Mutant(
        "does not check who signed a certificate",
        "A15",
        (
            Edit(
                "agreement/inbox.py",
                "        r.tally.verify_certificate(certificate)\n        r.learn_certificate(certificate)\n",
                "        r.learn_certificate(certificate)\n",
            ),
        ),
        ("A8 ", "A15 ", "A14 "),
        lying(liars.ForgedCertificates),
        needs="only forgeries try this rule",
    ),
    Mutant(
        "does not check the certificate of a run",
        "A18",
        (Edit("agreement/inbox.py", "        r.tally.verify_certificate(run.certificate)\n", ""),),
        ("A8 ", "A15 "),
        lying(liars.ForgedRuns),
        needs="only forgeries try this rule",
    ),
    signs("signs votes that serve in every network", "genesis_hash", 'b""'),
    signs("signs votes that serve in every epoch", "epoch", "0"),
    signs("signs votes that serve in every view", "view", "0"),
    signs("signs votes that serve as every kind", "int(kind)", "0"),
    signs("signs votes that serve for every proposal", "digest]", 'b""]'),
    Mutant(
        "leaves the root out of a proposal's digest",
        "A17",
        (
            Edit(
                MESSAGES,
                "            self.size,\n            self.root,\n        ]",
                "            self.size,\n        ]",
            ),
        ),
        ("A8 ", "A17 "),
    ),
)
