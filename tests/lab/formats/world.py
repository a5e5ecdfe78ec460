"""A model, a data set, a run and an evaluation as statements, and small folders and keys to sign with."""

from __future__ import annotations

import datetime as dt
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from glasslog.predicates.base import Subject
from glasslog.predicates.dataset import Dataset, SizeBand
from glasslog.predicates.evaluation import Evaluation
from glasslog.predicates.model import Model
from glasslog.predicates.release import Release
from glasslog.predicates.training_run import BuildDefinition, TrainingRun
from glasslog.predicates.values import RECORDS, TENSORS, Commitment, File, Organisation, Period, Resource
from glasslog.statement import Statement

ROOT = sha256(b"tensors").digest()
RECORDS_ROOT = sha256(b"records").digest()
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
BASE = Resource(name="base/model", uri="pkg:huggingface/base/model@abc", digest={"sha256": ROOT})


def file(name: str, content: bytes = b"x") -> File:
    return File(name=name, bytes=len(content), digest={"sha256": sha256(content).digest()})


def model_statement() -> Statement:
    model = Model(
        name="tiny", version="1.0", format="safetensors", tensors=2, parameters=10,
        content_root=Commitment(digest={TENSORS: ROOT}), architecture="TinyNet", description="A small model.",
        files=(file("config.json", b"{}"), file("weights/model.safetensors", b"w")), license="Apache-2.0",
        base_model=(BASE,), base_model_relation="finetune",
    )  # fmt: skip
    return model.statement(Subject("tiny", {TENSORS: ROOT}))


def dataset_statement(**changes: Any) -> Statement:
    members: dict[str, Any] = {
        "name": "digits & more", "version": "2", "identifier": "https://example.org/digits",
        "issuer": Organisation(name="Example Institute"), "description": "Handwritten digits.",
        "records_root": Commitment(digest={RECORDS: RECORDS_ROOT}), "records": 3, "bytes": 7,
        "files": (file("a.csv", b"1,2\n"), file("b.parquet", b"P")),
        "size": (SizeBand(modality="image", band="less than 1 million images"),),
        "source_category": ("public-dataset",),
        "collected": Period(start="2025-01-01", end="2025-02-01"), "issued": "2025-03-01", "languages": ("en",),
        "generation_method": "scanned", "license": "CC-BY-4.0", "privacy_measures": ("pseudonymised",),
        "derived_from": (Resource(name="older", digest={"sha256": sha256(b"older").digest()}),),
    } | changes  # fmt: skip
    return Dataset(**members).statement(Subject("digits", {RECORDS: RECORDS_ROOT}))


def run_statement() -> Statement:
    run = TrainingRun(
        name="run 7",
        build_definition=BuildDefinition(
            build_type="urn:glasslog:buildtype:training:v1", external_parameters={"learningRate": "0.1", "epochs": 3},
            internal_parameters={"threads": 2}, resolved_dependencies=(
                Resource(uri="git+https://example.org/code@abc", digest={"gitCommit": bytes(20)}),
            ),
        ),
        level="L2", commits=("parameters",), initial_weights=Commitment(digest={TENSORS: sha256(b"init").digest()}),
        datasets=(Resource(name="digits", digest={RECORDS: RECORDS_ROOT}),), world_size=1,
        started="2026-01-01T00:00:00Z",
    )  # fmt: skip
    return run.statement(Subject("run 7", {"glasslogHeadV1": sha256(b"head").digest()}))


def evaluation_statement() -> Statement:
    evaluation = Evaluation(
        metric="accuracy", value="0.875", dataset=Resource(name="digits", digest={RECORDS: RECORDS_ROOT}),
        harness=Resource(name="harness", digest={"sha256": ROOT}), assurance_level="self-reported",
    )  # fmt: skip
    return evaluation.statement(Subject("tiny", {TENSORS: ROOT}))


def release_statement() -> Statement:
    release = Release(
        purl="pkg:huggingface/lab/tiny@1", version="1.0", model=Resource(digest={"glasslogStatementV1": ROOT}),
        license="Apache-2.0", placed="2026-02-01", access="weights",
    )  # fmt: skip
    return release.statement(Subject("tiny", {TENSORS: ROOT}))


def all_statements() -> list[Statement]:
    return [model_statement(), dataset_statement(), run_statement(), evaluation_statement(), release_statement()]


FILES = {
    "config.json": b"{}", "empty": b"", "weights/a-b": b"dash", "weights/a/b": b"slash",
    "weights/model.bin": b"w" * 5000,
    "sub/.git/kept": b"kept: only the one at the top is left out", "ünï.txt": b"u",
}  # fmt: skip


def make_folder(path: Path) -> Path:
    for name, content in FILES.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    (path / ".git").mkdir()
    (path / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (path / ".gitattributes").write_text("* -text\n")
    return path


def write_private(key: ec.EllipticCurvePrivateKey, path: Path) -> Path:
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


def write_public(key: ec.EllipticCurvePrivateKey, path: Path) -> Path:
    path.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path


def make_certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: tuple[str, ec.EllipticCurvePrivateKey],
    *,
    ca: bool = False,
    days: int = 30,
    start: dt.datetime = START,
    path_length: int | None = None,
    signs: bool = True,
    usage: x509.ObjectIdentifier | None = ExtendedKeyUsageOID.CODE_SIGNING,
    extra: x509.ExtensionType | None = None,
) -> x509.Certificate:
    def common(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    builder = (
        x509.CertificateBuilder()
        .subject_name(common(name))
        .issuer_name(common(issuer[0]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + days * DAY)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length if ca else None), critical=True)
    )
    if ca or usage is not None:
        key_usage = x509.KeyUsage(
            digital_signature=signs, content_commitment=False, key_encipherment=False, data_encipherment=False,
            key_agreement=False, key_cert_sign=ca, crl_sign=ca, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        builder = builder.add_extension(key_usage, critical=True)
    if not ca:
        if usage is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.RFC822Name("lab@example.org")]), critical=False
        )
    if extra is not None:
        builder = builder.add_extension(extra, critical=True)
    return builder.sign(issuer[1], hashes.SHA256())


def change(data: bytes, path: str, value: Any) -> bytes:
    """JSON with one member set, or removed where the value is ``...``; ``path`` goes by dots."""
    top = json.loads(data)
    place, names = top, path.split(".")
    for name in names[:-1]:
        place = place[int(name) if isinstance(place, list) else name]
    last: Any = int(names[-1]) if isinstance(place, list) else names[-1]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return json.dumps(top).encode()
