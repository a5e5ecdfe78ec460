"""Evidence in a ledger convicts from its leaves alone, and forged evidence convicts nobody (A14).

Two readers judge every case: the audit, and the one that the simulation's oracle has of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from audit_ledger import LAB, OTHER_LAB, START, World, make_keys, make_statement, seed
from glasslog import codec
from glasslog.agreement.evidence import Fault, of_headers, of_votes
from glasslog.agreement.messages import Kind, Vote, encode_message, vote_bytes
from glasslog.audit import audit
from glasslog.audit.walk import EVIDENCE_MAX
from glasslog.block import build_block
from glasslog.entry import number_entry
from glasslog.identity import verify_ed25519
from glasslog.predicates.evidence import evidence_statement
from glasslog.statement import encode_statement
from simulation.oracles.evidence import read_accusations

FOUNDED = World()
HERE = FOUNDED.membership.genesis_hash
NAMES = [member.name for member in FOUNDED.membership.validators]
ELSEWHERE = seed("another network of the same members")
ONE, TWO = seed("one"), seed("two")


def signed(
    kind: Kind, digest: bytes, *, view: int = 3, epoch: int = 1, said: int = 1, genesis: bytes = HERE, voter: int = 2
) -> Vote:
    """A vote of validator 2, truly signed for ``genesis`` and ``epoch``, and said to be of epoch ``said``."""
    digest = b"" if kind is Kind.NULLIFY else digest
    message = vote_bytes(genesis, epoch, view, kind, digest)
    return Vote(said, view, kind, digest, voter, make_keys(NAMES[2]).vote.sign(message))


def header(salt: int, *, author: str = LAB, seq: int = 1, genesis: bytes = HERE, signer: str | None = None) -> bytes:
    block = build_block(
        [number_entry(author, 0 if seq == 1 else 1, make_statement(salt))],
        genesis_hash=genesis, author=author, seq=seq, prev=genesis if seq == 1 else ONE, first=seq - 1,
        time=START + salt, sign=make_keys(signer or author).author.sign,
    )  # fmt: skip
    return block.leaf


@dataclass(frozen=True)
class Case:
    """What is entered, against whom; ``convicts`` says whether it should."""

    name: str
    fault: Fault
    accused: str
    evidence: bytes
    convicts: bool = False


def votes(name: str, fault: Fault, one: Vote, other: Vote, *, accused: str = NAMES[2], convicts: bool = False) -> Case:
    return Case(name, fault, accused, of_votes(fault, accused, one, other).encode(), convicts)


def headers(name: str, one: bytes, other: bytes, *, accused: str = LAB, convicts: bool = False) -> Case:
    return Case(name, Fault.AUTHOR_FORK, accused, of_headers(1, accused, one, other).encode(), convicts)


def every_case() -> Iterator[Case]:
    n, z, f = Kind.NOTARIZE, Kind.NULLIFY, Kind.FINALIZE
    one, two = signed(n, ONE), signed(n, TWO)
    double_n, double_f, z_with_f = Fault.DOUBLE_NOTARIZE, Fault.DOUBLE_FINALIZE, Fault.NULLIFY_AND_FINALIZE
    yield votes("double N", double_n, one, two, convicts=True)
    yield votes("double F", double_f, signed(f, ONE), signed(f, TWO), convicts=True)
    yield votes("Z with F", z_with_f, signed(z, b""), signed(f, ONE), convicts=True)
    yield headers("author fork", header(1), header(2), convicts=True)

    unsigned = Vote(1, 3, n, TWO, 2, bytes(64))
    yield votes("a missing signature", double_n, one, unsigned)
    yield votes("the signature of the other vote", double_n, one, Vote(1, 3, n, TWO, 2, one.signature))
    yield votes("different views", double_n, one, signed(n, TWO, view=4))
    yield votes("another genesis", double_n, one, signed(n, TWO, genesis=ELSEWHERE))
    yield votes("another epoch, as it is", double_n, one, signed(n, TWO, epoch=2, said=2))
    yield votes("another epoch, said to be this one", double_n, one, signed(n, TWO, epoch=2))
    yield votes("both of another epoch", double_n, signed(n, ONE, epoch=2, said=2), signed(n, TWO, epoch=2, said=2))
    yield votes("N with Z, which is allowed", z_with_f, one, signed(z, b""))
    yield votes("N with F, which is allowed", double_f, one, signed(f, ONE))
    yield votes("a vote of another kind as this one", double_f, signed(f, ONE), Vote(1, 3, f, TWO, 2, two.signature))
    yield votes("the right votes and the wrong fault", double_f, one, two)
    yield votes("an honest key, by index", double_n, signed(n, ONE, voter=1), signed(n, TWO, voter=1), accused=NAMES[1])
    yield votes("an honest key, by name", double_n, one, two, accused=NAMES[1])
    yield votes("no such validator", double_n, signed(n, ONE, voter=9), signed(n, TWO, voter=9))
    same = encode_message(one)
    raw: list[codec.Value] = ["glasslog/evidence/v1", double_n.value, 1, NAMES[2], same, same]
    yield Case("the same digest twice", double_n, NAMES[2], codec.encode(raw))
    raw[4:] = sorted((same, encode_message(two)), reverse=True)
    yield Case("not in order", double_n, NAMES[2], codec.encode(raw))

    yield headers("two blocks in a row", header(1), header(2, seq=2))
    yield headers("a fork in another network", header(1), header(2, genesis=ELSEWHERE))
    yield headers("a header that another signed", header(1), header(2, signer=OTHER_LAB))
    yield headers("blocks of two authors", header(1), header(2, author=OTHER_LAB))
    yield headers("an honest author", header(1), header(2), accused=OTHER_LAB)


CASES = list(every_case())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_leaves_alone_convict_the_guilty_and_nobody_else(case: Case) -> None:
    world = World()
    statement = evidence_statement(case.evidence, fault=case.fault.value, accused=case.accused)
    world.add_height([world.make_block([number_entry(LAB, 0, encode_statement(statement))])])
    source = world.source()
    source.kept = None  # no certificate, no proposal, no node: leaves and tiles
    leaf = len(world.genesis)

    report = audit(source)
    assert not report.findings.kept  # a false accusation is a statement like any other
    (notice,) = (notice for notice in report.notices if notice.startswith(f"leaf {leaf}: "))
    if case.convicts:
        assert notice == f"leaf {leaf}: evidence convicts {case.accused} of {case.fault.value}"
    else:
        assert "convicts nobody" in notice

    (found,) = read_accusations(world.leaves, verify_ed25519)
    assert (found.index, found.accused, found.fault, found.convicts) == (
        leaf, case.accused, case.fault.value, case.convicts,
    )  # fmt: skip


def test_every_fault_has_a_case_that_convicts() -> None:
    assert {case.fault for case in CASES if case.convicts} == set(Fault)


def test_flood_of_false_accusations_does_not_hide_the_true_one() -> None:
    """Each author's evidence is judged up to a number of its own: what one enters takes nothing from another."""
    world = World()
    false = next(case for case in CASES if case.name == "a missing signature")
    true = next(case for case in CASES if case.convicts)
    entered = {OTHER_LAB: [false] * 1_100, LAB: [true]}
    for author, cases in entered.items():
        for first in range(0, len(cases), 100):
            entries = [
                number_entry(
                    author,
                    first + number,
                    encode_statement(evidence_statement(case.evidence, fault=case.fault.value, accused=case.accused)),
                )
                for number, case in enumerate(cases[first : first + 100])
            ]
            world.add_height([world.make_block(entries, author=author)])
    source = world.source()
    source.kept = None
    notices = audit(source).notices
    assert [notice for notice in notices if f"convicts {true.accused} of {true.fault.value}" in notice]
    assert [notice for notice in notices if "more evidence entries" in notice] == [
        f"{1_100 - EVIDENCE_MAX} more evidence entries were not judged: {EVIDENCE_MAX} of each author are"
    ]
