from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasslog.agreement.evidence import Evidence, Fault, decode_evidence
from glasslog.errors import DecodeError
from glasslog.limits import HEADER_LEAF_BYTES_MAX
from glasslog.predicates.evidence import EVIDENCE_TYPE, evidence_statement, read_evidence
from glasslog.statement import decode_statement, encode_statement


@given(st.binary(max_size=HEADER_LEAF_BYTES_MAX - 1), st.sampled_from(Fault))
def test_evidence_survives_in_a_statement(first: bytes, fault: Fault) -> None:
    evidence = Evidence(fault, 3, "lab", first, first + b"\x00")
    statement = evidence_statement(evidence.encode(), fault=fault.value, accused="lab")
    again = decode_statement(encode_statement(statement))
    assert decode_evidence(read_evidence(again)) == evidence


@pytest.mark.parametrize(
    "change",
    [
        {"evidence": "!"}, {"evidence": "YQ"}, {"evidence": 1}, {"fault": 1}, {"accused": "other"}, {"accused": None},
        {"evidence": "YQ==\n"}, {"extra": 1},
    ],
)  # fmt: skip
def test_read_evidence_refuses_parts_that_disagree(change: dict[str, Any]) -> None:
    statement: Any = evidence_statement(b"bytes", fault="author-fork", accused="lab")
    assert read_evidence(statement) == b"bytes"
    statement["predicate"].update(change)
    with pytest.raises(DecodeError, match="EVIDENCE-10"):
        read_evidence(statement)


def test_read_evidence_refuses_other_statements() -> None:
    statement: Any = evidence_statement(b"bytes", fault="author-fork", accused="lab")
    assert statement["predicateType"] == EVIDENCE_TYPE
    with pytest.raises(DecodeError, match="EVIDENCE-10"):
        read_evidence({**statement, "predicateType": "a:b"})
    with pytest.raises(DecodeError, match="STMT-"):
        read_evidence({})
