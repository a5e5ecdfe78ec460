"""The evidence predicate: how evidence of a fault is entered into the ledger (specs/agreement.md, A14).

The statement carries the canonical evidence bytes whole, so that anybody can repeat the judgement from the ledger
alone. Its other members repeat what those bytes say, for readers who search; only the bytes count.
"""

from __future__ import annotations

import base64
import binascii
from hashlib import sha256

from glasslog.errors import DecodeError
from glasslog.statement import STATEMENT_TYPE, Statement, check_statement

EVIDENCE_TYPE = "urn:glasslog:predicate:evidence:v1"


def evidence_statement(evidence: bytes, *, fault: str, accused: str) -> Statement:
    """Return the statement that enters ``evidence``, canonical bytes of ``agreement.evidence``.

    Raises:
        DecodeError: STMT-nn.
    """
    statement: Statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": accused, "digest": {"sha256": sha256(evidence).digest()}}],
        "predicateType": EVIDENCE_TYPE,
        "predicate": {"fault": fault, "accused": accused, "evidence": base64.b64encode(evidence).decode()},
    }
    check_statement(statement)
    return statement


def read_evidence(statement: Statement) -> bytes:
    """Return the evidence bytes of an evidence statement. Whether they convict is not looked at.

    Raises:
        DecodeError: STMT-nn no statement; EVIDENCE-10 not of this predicate, or its parts disagree.
    """
    check_statement(statement)
    predicate = statement.get("predicate")
    if statement["predicateType"] != EVIDENCE_TYPE or not isinstance(predicate, dict):
        raise DecodeError("EVIDENCE-10", "the statement is not evidence")
    encoded, fault, accused = predicate.get("evidence"), predicate.get("fault"), predicate.get("accused")
    if not isinstance(encoded, str) or not isinstance(fault, str) or not isinstance(accused, str):
        raise DecodeError("EVIDENCE-10", "the statement lacks evidence, fault or accused")
    try:
        evidence = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise DecodeError("EVIDENCE-10", "the evidence is not base64") from None
    if statement != evidence_statement(evidence, fault=fault, accused=accused):
        raise DecodeError("EVIDENCE-10", "the statement is not what its evidence makes")
    return evidence
