"""Whose fault is it? That question is the tree of errors (specs/threat-model.md, T4).

``ProtocolError`` and below: bytes from outside broke a rule; caught once, where bytes enter.
A plain ``RuntimeError``, ``ValueError`` or ``assert`` from inside: our own bug; it stops the node.
Operating faults (disk, config) are defined in ``glasslog_node.errors``.
"""

from __future__ import annotations


class ProtocolError(Exception):
    """Somebody's bytes broke a rule of the protocol.

    ``code`` is stable and shown to people (``CBOR-03``, ``BLOCK-02``); ``fact`` is one clause without
    a final stop, e.g. ``"map keys out of order at byte 17"``.
    """

    def __init__(self, code: str, fact: str) -> None:
        super().__init__(f"{code} {fact}")
        self.code = code
        self.fact = fact


class DecodeError(ProtocolError):
    """The bytes are not a canonical encoding of what they should be."""


class SignatureError(ProtocolError):
    """A signature does not verify, or is by a key nobody admitted."""


class AdmissionError(ProtocolError):
    """Well-formed and signed, but not admissible: wrong network, author, number, quota or order."""


class ProofError(ProtocolError):
    """A proof, checkpoint, policy or bundle does not show what it claims to show."""
