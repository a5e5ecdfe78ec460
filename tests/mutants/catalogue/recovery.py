"""Faults of how lost state comes back (A10)."""

from __future__ import annotations

from mutants import liars
from mutants.mutant import Edit, Mutant
from mutants.worlds import LOST, lying

RECOVERY, REPLICA, INBOX = "agreement/recovery.py", "agreement/replica.py", "agreement/inbox.py"

LIED_TO = lying(liars.OldAnswers, validators=7, lost=True)
AHEAD = lying(liars.OnlyToOne, validators=7, lost=True)

MUTANTS = (
    Mutant(
        "votes before its state is back",
        "A10",
        (
            Edit(
                REPLICA,
                "self.index is not None and self.halted is None and self.recovery is None",
                "self.index is not None and self.halted is None",
            ),
        ),
        ("A10 ",),
        LOST,
    ),
    Mutant(
        "cosigns before its state is back",
        "A10",
        (
            Edit(
                REPLICA,
                "        if not self.may_sign:\n            return\n        self.cosigned_at",
                "        if self.index is None:\n            return\n        self.cosigned_at",
            ),
        ),
        ("A10 ",),
        LOST,
    ),
    Mutant(
        "waits for a view above W instead of W+2",
        "A10",
        (Edit(RECOVERY, "default=0) + 2\n", "default=0) + 1\n"),),
        ("failed",),
        test="tests/protocol/test_replica.py::test_lost_state_keeps_silent_until_a_view_two_above_all_answers_is_final",
        needs="a certificate that the loser alone had, of a view that becomes final: one seed in thousands",
    ),
    Mutant(
        "waits for W instead of W+2",
        "A10",
        (Edit(RECOVERY, "default=0) + 2\n", "default=0)\n"),),
        ("A10 ",),
        AHEAD,
        needs="a view that lasts, and in which nobody but the loser voted: its leader told nobody else",
    ),
    Mutant(
        "goes by the first answer alone",
        "A10",
        (
            Edit(
                RECOVERY, "            self.replies[voter] = reply\n", "            self.replies.setdefault(0, reply)\n"
            ),
            Edit(RECOVERY, "return len(self.replies) >= self.needed", "return len(self.replies) >= 1"),
        ),
        ("A10 ",),
        LIED_TO,
        needs="a liar among those who answer",
    ),
    Mutant(
        "counts itself among those who answer",
        "A10",
        (Edit(REPLICA, "Recovery(config.boot_nonce, quorum, ", "Recovery(config.boot_nonce, quorum - 1, "),),
        ("failed",),
        test="tests/protocol/test_replica.py::test_lost_state_keeps_silent_until_all_of_n_minus_f_have_answered",
        needs="a loser counts among the f: then 2f answers are enough, and n - f is one more than that",
    ),
    Mutant(
        "goes by the lowest answer",
        "A10",
        (
            Edit(
                RECOVERY,
                "return max((certificate.view for certificate in certificates)",
                "return min((certificate.view for certificate in certificates)",
            ),
        ),
        ("A10 ",),
        LIED_TO,
        needs="a liar among those who answer",
    ),
    Mutant(
        "answers while its own state is not back",
        "A10",
        (
            Edit(
                INBOX,
                "        if r.index is None or r.recovery is not None:\n            return\n",
                "        if r.index is None:\n            return\n",
            ),
        ),
        ("failed",),
        test="tests/mutants/test_rules.py::test_who_lost_its_state_answers_nobody_who_asks",
        needs="more than f lost at once: a halt by design, no run to judge",
    ),
    Mutant(
        "believes answers to an earlier boot",
        "A10",
        (Edit(RECOVERY, "if reply.nonce == self.nonce:", "if True:"),),
        ("failed",),
        test="tests/protocol/test_replica.py::test_answers_to_an_earlier_boot_count_for_nothing",
        needs="answers that are older than the loss",
    ),
    Mutant(
        "asks once and never again",
        "A10",
        (Edit(INBOX, "                r.broadcast(self._recovery_question())\n", "                pass\n"),),
        ("LIVENESS",),
        LOST,
    ),
    Mutant(
        "never ends its recovery",
        "A10",
        (Edit(INBOX, "            r.recovery = None\n", "            pass\n"),),
        ("LIVENESS", "A10 "),
        LOST,
    ),
    Mutant(
        "lets an author seal before its chain is known",
        "A10",
        (
            Edit(
                INBOX,
                "        if not r.recovery.is_answered or r.branches.floor.view < r.recovery.final_view:\n"
                "            return False\n",
                "",
            ),
        ),
        ("failed",),
        test="tests/protocol/test_replica.py::test_author_that_lost_state_goes_on_after_the_last_block_that_anybody_shows",
        needs="authors of the simulation keep what they sealed outside the node",
    ),
)
