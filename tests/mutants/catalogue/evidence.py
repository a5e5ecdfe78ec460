"""Faults of evidence: an honest key is accused, or the same twice (A14)."""

from __future__ import annotations

from mutants.mutant import Edit, Mutant

EVIDENCE, TALLY, VIEW, REPLICA = (f"agreement/{name}.py" for name in ("evidence", "tally", "view", "replica"))

MUTANTS = (
    Mutant(
        "accuses whoever notarized and nullified a view",
        "A14",
        (
            Edit(EVIDENCE, "if kinds == {Kind.NULLIFY, Kind.FINALIZE}:", "if len(kinds) == 2:"),
            Edit(
                VIEW,
                "{Kind.NULLIFY: Kind.FINALIZE, Kind.FINALIZE: Kind.NULLIFY}",
                "{Kind.NULLIFY: Kind.NOTARIZE, Kind.NOTARIZE: Kind.NULLIFY}",
            ),
        ),
        ("A14 ",),
    ),
    Mutant(
        "accuses whoever notarized and finalized a view",
        "A14",
        (
            Edit(EVIDENCE, "if kinds == {Kind.NULLIFY, Kind.FINALIZE}:", "if len(kinds) == 2:"),
            Edit(
                VIEW,
                "{Kind.NULLIFY: Kind.FINALIZE, Kind.FINALIZE: Kind.NULLIFY}",
                "{Kind.NOTARIZE: Kind.FINALIZE, Kind.FINALIZE: Kind.NOTARIZE}",
            ),
        ),
        ("A14 ",),
    ),
    Mutant(
        "accuses whoever says the same twice",
        "A14",
        (
            Edit(EVIDENCE, "if len(kinds) == 1 and one.digest != other.digest:", "if len(kinds) == 1:"),
            Edit(
                VIEW,
                "return first if first.digest != vote.digest else None",
                "return first if first is not vote else None",
            ),
        ),
        ("A14 ",),
    ),
    Mutant(
        "accuses the wrong validator",
        "A14",
        (
            Edit(
                TALLY,
                "return of_votes(fault, self._membership.validators[vote.voter].name,",
                "return of_votes(fault, self._membership.validators[vote.voter - 1].name,",
            ),
        ),
        ("A14 ",),
    ),
    Mutant(
        "keeps the same evidence again after a restart",
        "A14",
        (Edit(REPLICA, "            self.accused.add((known.", "            set[object]().add((known."),),
        ("A14 ",),
    ),
    Mutant(
        "convicts by votes of two views",
        "A14",
        (Edit(EVIDENCE, "if one.view != other.view or fault_of(one, other)", "if fault_of(one, other)"),),
        ("failed",),
        test="tests/protocol/test_evidence.py::test_votes_of_different_views_voters_epochs_or_of_nobody_convict_nobody",
        needs="the judge of others' evidence stands beside the agreement",
    ),
    Mutant(
        "convicts by votes that the accused did not sign",
        "A14",
        (Edit(EVIDENCE, "if not verify(membership.vote_key(vote.voter), message, vote.signature):", "if False:"),),
        ("failed",),
        test="tests/protocol/test_evidence.py::test_flipped_byte_never_convicts",
        needs="the judge of others' evidence stands beside the agreement",
    ),
)
