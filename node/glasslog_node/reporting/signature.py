"""The examiner's signature over a report: Ed25519 and ML-DSA-44, in a file of its own (G7)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import cast

from glasslog.audit.reporting import SigningKey
from glasslog.identity import Ed25519Key, MlDsa44Key, verify_ed25519, verify_mldsa44
from glasslog_node.errors import ConfigError
from glasslog_node.keys import Purpose, create_key, read_key

FORMAT = "glasslog-report-signature/1"
SIGNATURE_BYTES_MAX = 1 << 16
_OWNER = "examiner"
_ED25519, _MLDSA44 = "Ed25519", "ML-DSA-44"
_VERIFY = {_ED25519: verify_ed25519, _MLDSA44: verify_mldsa44}
_NEXT = "get report and signature again from the examiner; rely on neither until then"


@dataclass(frozen=True, slots=True)
class ExaminerKeys:
    """An examiner's two private keys."""

    ed25519: Ed25519Key
    mldsa44: MlDsa44Key

    @property
    def public(self) -> tuple[SigningKey, ...]:
        """Both public keys, as they stand in a report."""
        pairs = ((_ED25519, self.ed25519.public), (_MLDSA44, self.mldsa44.public))
        return tuple([SigningKey(name, key.hex(), sha256(key).hexdigest()) for name, key in pairs])

    def sign(self, report: bytes) -> bytes:
        """Return the signature file for a report's JSON."""
        message = signed_bytes(report)
        pairs = zip(self.public, (self.ed25519.sign(message), self.mldsa44.sign(message)), strict=True)
        value = {
            "format": FORMAT,
            "report_sha256": sha256(report).hexdigest(),
            "signatures": [
                {"algorithm": key.algorithm, "key": key.key, "signature": made.hex()} for key, made in pairs
            ],
        }
        return (json.dumps(value, indent=2) + "\n").encode()


def make_examiner_keys(folder: Path) -> ExaminerKeys:
    """Make both keys, each in a file that only its owner can read.

    Raises:
        ConfigError: KEY-nn.
    """
    seeds = [create_key(folder, purpose, _OWNER).seed for purpose in (Purpose.EXAMINER, Purpose.EXAMINER_MLDSA44)]
    return ExaminerKeys(Ed25519Key(seeds[0]), MlDsa44Key(seeds[1]))


def read_examiner_keys(folder: Path) -> ExaminerKeys:
    """Return the keys in a folder.

    Raises:
        ConfigError: KEY-nn.
    """
    seeds = [read_key(folder, purpose, _OWNER).seed for purpose in (Purpose.EXAMINER, Purpose.EXAMINER_MLDSA44)]
    return ExaminerKeys(Ed25519Key(seeds[0]), MlDsa44Key(seeds[1]))


def signed_bytes(report: bytes) -> bytes:
    """Return what is signed: what it is, and the SHA-256 of the report's JSON, as two lines."""
    return f"{FORMAT}\n{sha256(report).hexdigest()}\n".encode()


def verify_signature(report: bytes, signature: bytes, expected: Sequence[str]) -> list[SigningKey]:
    """Return the keys that signed. ``expected`` are fingerprints, each of which has to be among them.

    Raises:
        ConfigError: REPORT-04 no signature file, REPORT-05 it does not hold, or is not by an expected key.
    """
    try:
        lines = _read_lines(report, signature)
    except (ValueError, TypeError, KeyError, RecursionError) as e:
        raise ConfigError("REPORT-04", f"the signature file is not of the form ({str(e)[:80]})", _NEXT) from e
    message = signed_bytes(report)
    signers: list[SigningKey] = []
    for algorithm, key, made in lines:
        if not _VERIFY[algorithm](key, message, made):
            raise ConfigError("REPORT-05", f"the {algorithm} signature does not hold for this report", _NEXT)
        signers.append(SigningKey(algorithm, key.hex(), sha256(key).hexdigest()))
    found = {signer.fingerprint for signer in signers}
    for fingerprint in expected:
        if fingerprint.lower() not in found:
            raise ConfigError("REPORT-05", f"no signature is by the key {fingerprint[:80]}", _NEXT)
    return signers


def _read_lines(report: bytes, signature: bytes) -> list[tuple[str, bytes, bytes]]:
    value = cast("dict[str, object]", json.loads(signature))
    if value["format"] != FORMAT or value["report_sha256"] != sha256(report).hexdigest():
        raise ValueError("it is of another format, or of another report")
    lines: list[tuple[str, bytes, bytes]] = []
    for one in cast("list[dict[str, str]]", value["signatures"]):
        algorithm, key, made = one["algorithm"], bytes.fromhex(one["key"]), bytes.fromhex(one["signature"])
        if algorithm not in _VERIFY or algorithm in [line[0] for line in lines]:
            raise ValueError("an algorithm that is not known, or stands twice")
        lines.append((algorithm, key, made))
    if not lines:
        raise ValueError("no signature in it")
    return lines
