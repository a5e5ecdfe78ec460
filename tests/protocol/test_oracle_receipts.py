"""Strangers' verifiers accept our receipts: PyPI's scitt-cose whole, cwt the signature; pycose writes the statement.

They need other releases of cbor2 than glasslog, so they run in an environment of their own, made once and kept in
pytest's cache; ``GLASSLOG_COSE_PYTHON`` names a Python that has them already.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from glasslog import codec
from glasslog.cose import parse_signed_statement
from glasslog.receipt import CONSISTENCY, INCLUSION, Receipt, sign_root, with_proof
from glasslog.receipt_key import ES256, EdDsaSigner, Es256Signer, ReceiptKey, ReceiptSigner
from small_log import SmallLog, seed

pytestmark = pytest.mark.xdist_group("cose-oracle")

RELEASES = ["scitt-cose==0.5.0", "cwt==3.3.0", "pycose==1.1.0"]
SIGNERS: list[ReceiptSigner] = [Es256Signer(seed("receipt", 0)), EdDsaSigner(seed("receipt", 1))]

JUDGE = """
import json, sys
import cbor2, scitt_cose
from cwt import COSE, COSEKey
asked = json.load(sys.stdin)
receipt = bytes.fromhex(asked["receipt"])
result = scitt_cose.verify_receipt(receipt, leaf_entry_hex=asked["entry"], log_public_key_pem=asked["pem"])
answer = {"scitt_cose": bool(result.ok), "said": repr(result)[:600]}
try:
    key = COSEKey.new(cbor2.loads(bytes.fromhex(asked["cose_key"])))
    COSE.new().decode(receipt, key, detached_payload=bytes.fromhex(asked["root"]))
    answer["cwt"] = True
except Exception as error:
    answer["cwt"], answer["cwt_said"] = False, repr(error)
print(json.dumps(answer))
"""

MAKE = """
from pycose.algorithms import EdDSA
from pycose.headers import KID, Algorithm
from pycose.keys import OKPKey
from pycose.messages import Sign1Message
key = OKPKey.generate_key("Ed25519")
claims = {1: "https://lab.example", 2: "model:demo"}
message = Sign1Message(phdr={Algorithm: EdDSA, KID: b"lab-1", 15: claims}, payload=b"a statement of somebody else's")
message.key = key
print(message.encode().hex())
"""


def has_oracles(python: Path) -> bool:
    try:
        return not run(python, "import scitt_cose, cwt, pycose").returncode
    except OSError:
        return False


def run(python: Path, program: str, given: str = "") -> subprocess.CompletedProcess[str]:
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [python, "-c", program], input=given, capture_output=True, text=True, timeout=120, check=False, env=own
    )


@pytest.fixture(scope="session")
def oracle(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that holds the three and nothing of ours."""
    named = os.environ.get("GLASSLOG_COSE_PYTHON")
    if named:
        return Path(named)
    kept: pytest.Cache | None = getattr(pytestconfig, "cache", None)  # absent under -p no:cacheprovider
    folder = kept.mkdir("cose-oracle") if kept else tmp_path_factory.mktemp("oracle")
    python = folder / "bin" / "python"
    if has_oracles(python):
        return python
    steps = (
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
         "--retries=1", "--timeout=20", *RELEASES],
    )  # fmt: skip
    for step in steps:
        try:
            done = subprocess.run(step, capture_output=True, text=True, timeout=180, check=False)
        except subprocess.TimeoutExpired:
            pytest.skip("scitt-cose, cwt and pycose could not be installed: it took over three minutes")
        if done.returncode:
            reason = (done.stderr or done.stdout).strip()[-300:]
            pytest.skip(f"scitt-cose, cwt and pycose could not be installed: {reason}")
    return python


def to_pem(key: ReceiptKey) -> str:
    if key.algorithm == ES256:
        x, y = int.from_bytes(key.public[:32]), int.from_bytes(key.public[32:])
        public = EllipticCurvePublicNumbers(x, y, SECP256R1()).public_key()
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    edwards = Ed25519PublicKey.from_public_bytes(key.public)
    return edwards.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def judge(oracle: Path, receipt: Receipt, entry: bytes, key: ReceiptKey) -> dict[str, Any]:
    asked = {
        "receipt": receipt.encode().hex(),
        "entry": entry.hex(),
        "root": receipt.checkpoint.root.hex(),
        "pem": to_pem(key),
        "cose_key": codec.encode(key.to_cose()).hex(),
    }
    done = run(oracle, JUDGE, json.dumps(asked))
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.fixture(scope="session")
def statement(oracle: Path) -> bytes:
    """A Signed Statement that pycose made: tag 18, an empty unprotected header."""
    done = run(oracle, MAKE)
    assert done.returncode == 0, done.stderr
    return bytes.fromhex(done.stdout)


@pytest.mark.parametrize("signer", SIGNERS)
def test_strangers_accept_our_receipt_of_a_stranger_s_statement(
    oracle: Path, statement: bytes, signer: ReceiptSigner
) -> None:
    """R2 and R3: the leaf is the statement byte for byte, and the receipt holds elsewhere as it does here."""
    assert parse_signed_statement(statement).payload == b"a statement of somebody else's"
    log = SmallLog()
    log.append([b"genesis", b"policy", statement, b"after"])
    path = log.reader.inclusion_proof(2)
    receipt = with_proof(sign_root(log.checkpoint, "institute-0", signer), INCLUSION, (4, 2), path)
    receipt.verify_inclusion(statement, signer.public)
    answer = judge(oracle, receipt, statement, signer.public)
    assert (answer["scitt_cose"], answer["cwt"]) == (True, True), answer
    forged = replace(receipt, signature=bytes(63) + b"\x01")
    wrong = judge(oracle, forged, statement, signer.public)
    assert (wrong["scitt_cose"], wrong["cwt"]) == (False, False), wrong
    other = judge(oracle, receipt, statement[:-1] + b"x", signer.public)
    assert not other["scitt_cose"], other


@pytest.mark.parametrize("signer", SIGNERS)
def test_cwt_accepts_the_signature_of_a_consistency_receipt(oracle: Path, signer: ReceiptSigner) -> None:
    log = SmallLog()
    log.append([b"0", b"1", b"2"])
    older = log.checkpoint
    log.append([b"3", b"4"])
    path = log.reader.consistency_proof(3)
    receipt = with_proof(sign_root(log.checkpoint, "institute-0", signer), CONSISTENCY, (3, 5), path)
    receipt.verify_consistency(older, signer.public)
    answer = judge(oracle, receipt, b"0", signer.public)
    assert (answer["scitt_cose"], answer["cwt"]) == (False, True), answer
