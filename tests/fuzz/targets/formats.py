"""What other tools publish: bundles, envelopes, bills of materials, cards. Whatever is accepted can be entered."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from random import Random

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from fuzz.mutators import mutate_json
from fuzz.target import Target, accepted
from glasslog.predicates.dataset import Dataset
from glasslog.predicates.evaluation import Evaluation
from glasslog.statement import encode_statement
from glasslog_lab.errors import ArtifactError
from glasslog_lab.formats.detect import Options, detect, import_data
from glasslog_lab.formats.dsse import INTOTO_PAYLOAD, dump_json, make_envelope, pae
from glasslog_lab.formats.facts import Checked
from glasslog_lab.formats.keys import Key
from glasslog_lab.formats.oms import Trust, import_bundle, make_bundle, read_bundle
from glasslog_lab.formats.oms_manifest import Manifest, Serialization
from glasslog_lab.formats.statements import REFERENCE_TYPE, make_statements
from glasslog_lab.formats.yaml_reading import load_yaml


@cache
def _key() -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(7, ec.SECP256R1())  # of no use to anybody: every campaign signs with the same one


@cache
def _trust() -> Trust:
    return Trust(keys=[Key(_key().public_key())])


def run_import(data: bytes) -> None:
    """Any document, its format told by its content: nothing in it may be called verified."""
    imported = import_data(data, "document", Options(trust=Trust()), detect(data, "README.md"))
    with accepted():
        assert imported.checked in (Checked.DECLARED, Checked.ENCLOSED)
        assert imported.evidence[0].digest == sha256(data).digest()
        sources = [fact.sources for fact in imported.models] + [fact.sources for fact in imported.datasets]
        assert all(one.checked is not Checked.REHASHED for members in sources for one in members.values())
    entered = make_statements(imported)
    for statement in entered:
        encode_statement(statement)
    with accepted():  # nothing of a stranger's is entered by another predicate than those that say that it is imported
        kinds = {statement["predicateType"] for statement in entered}
        assert kinds <= {REFERENCE_TYPE, Dataset.type_uri(), Evaluation.type_uri()}
        assert REFERENCE_TYPE in kinds


def run_bundle(data: bytes) -> None:
    """A bundle whose signature verifies: every name in it is one path below its folder."""
    imported = import_bundle(data, "bundle", trust=_trust())
    with accepted():
        assert imported.checked is Checked.SIGNED
        for name in read_bundle(data, "bundle").manifest.resources:
            parts = name.split("/")
            assert not {"", ".", ".."} & set(parts), "a path out of the folder or of several spellings"
            assert "\\" not in name


def run_yaml(data: bytes) -> None:
    value = load_yaml(data, "document")
    with accepted():
        text = json.dumps(value)
        assert len(text) < 64 * (len(data) + 64), "a small document grew"


def _resign(data: bytes, rng: Random) -> bytes:
    """Change the statement inside a bundle and sign it again, as a hostile signer can."""
    try:
        value = json.loads(data)
        payload = mutate_json(base64.b64decode(value["dsseEnvelope"]["payload"]), rng)
        signature = _key().sign(pae(INTOTO_PAYLOAD, payload), ec.ECDSA(SHA256()))
        value["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
        value["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(signature).decode()
    except (ValueError, KeyError, TypeError, IndexError):
        return data
    return json.dumps(value).encode()


def _bundles() -> list[bytes]:
    resources = {name: sha256(name.encode()).digest() for name in ("a", "b/c")}
    shards = {f"a:{start}:{start + 10}": bytes(32) for start in (0, 10)}
    return [
        make_bundle(Manifest("m", Serialization(), resources), _key()),
        make_bundle(Manifest("m", Serialization(method="shards", shard_size=10), shards), _key()),
    ]


def _documents() -> Sequence[bytes]:
    statement = {
        "_type": "https://in-toto.io/Statement/v1", "subject": [{"name": "m", "digest": {"sha256": "0" * 64}}],
        "predicateType": "https://slsa.dev/provenance/v1", "predicate": {
            "buildDefinition": {"buildType": "urn:x:y", "externalParameters": {"lr": "0.1"}, "resolvedDependencies": [
                {"uri": "git+https://example.org/c", "digest": {"gitCommit": "0" * 40}}]},
            "runDetails": {"builder": {"id": "urn:x:b"}, "metadata": {"startedOn": "2026-01-01T00:00:00Z"}},
        },
    }  # fmt: skip
    bom = {
        "bomFormat": "CycloneDX", "specVersion": "1.6",
        "metadata": {"component": {
            "type": "machine-learning-model", "name": "m", "bom-ref": "m",
            "modelCard": {"quantitativeAnalysis": {"performanceMetrics": [{"type": "f1", "value": "0.5"}]}},
            "components": [{"type": "file", "name": "f", "hashes": [{"alg": "SHA-256", "content": "0" * 64}]}],
            "pedigree": {"ancestors": [{"type": "machine-learning-model", "name": "b", "purl": "pkg:x/y"}]},
        }},
        "components": [{"type": "data", "name": "d", "data": [{"type": "dataset", "contents": {"url": "urn:d:1"}}]}],
        "dependencies": [{"ref": "m", "dependsOn": ["d"]}],
    }  # fmt: skip
    spdx = {"@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld", "@graph": [
        {"type": "ai_AIPackage", "spdxId": "urn:x:1", "name": "m", "ai_metric": [{"key": "f1 on d", "value": "0.5"}]},
        {"type": "dataset_DatasetPackage", "spdxId": "urn:x:2", "name": "d"},
        {"type": "software_File", "spdxId": "urn:x:3", "name": "f", "verifiedUsing": [
            {"type": "Hash", "algorithm": "sha256", "hashValue": "0" * 64}]},
        {"type": "Relationship", "spdxId": "urn:x:4", "from": "urn:x:1", "relationshipType": "contains",
         "to": ["urn:x:3"]},
    ]}  # fmt: skip
    croissant = {
        "@context": {}, "@type": "sc:Dataset", "name": "d", "license": "MIT", "url": "https://example.org",
        "distribution": [{"@type": "cr:FileObject", "@id": "f", "sha256": "0" * 64, "contentSize": "5 B"},
                         {"@type": "cr:FileSet", "@id": "s", "includes": "*.csv", "containedIn": {"@id": "f"}}],
        "prov:wasDerivedFrom": [{"@id": "urn:x:y"}],
    }  # fmt: skip
    run = {"run": {"info": {"run_id": "r", "start_time": 1}, "data": {
        "params": [{"key": "a", "value": "1"}], "metrics": [{"key": "m", "value": 0.5}]}}}  # fmt: skip
    card = (
        b"---\nlicense: mit\nbase_model: a/b\nmodel-index:\n- name: m\n  results:\n  - dataset: {name: d}\n"
        b"    metrics: [{type: f1, value: 0.5}]\n---\n# m\n"
    )
    wandb = {"storagePolicy": "x", "contents": {"a": {"digest": "1B2M2Y8AsgTpgAmY7PhCfg==", "size": 1}}}
    lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 5\n"
    envelope = make_envelope(dump_json(statement), [_key()])
    values = [statement, bom, spdx, croissant, run, wandb, envelope]
    return [
        card,
        lfs,
        b"outs:\n- md5: " + b"d" * 32 + b"\n  path: a\n",
        *(json.dumps(one).encode() for one in values),
        *_bundles(),
    ]


TARGETS = (
    Target(
        "formats-import",
        run_import,
        _documents,
        allowed=(ArtifactError,),
        tokens=(b'"sha256"', b"NaN", b"1e400", b'"\\ud800"', b"---\n", b"&a ", b"*a", b"!!", b'"@graph"', b"../"),
        mutators=(mutate_json,),
        size_max=4_096,
    ),
    Target(
        "formats-oms",
        run_bundle,
        _bundles,
        allowed=(ArtifactError,),
        tokens=(b'"../', b'"/', b"path:0:10", b'"shard_size"', b'"ignore_paths"'),
        mutators=(_resign, mutate_json),
        size_max=4_096,
    ),
    Target(
        "formats-yaml",
        run_yaml,
        lambda: [b"a: 1\nb: [x, 'y', {c: ~}]\n", b'- - x\n- "q"\n', b"k: |\n  text\n  more\n"],
        allowed=(ArtifactError,),
        tokens=(b"&a ", b"*a", b"<<: ", b"!!python/name:", b"? ", b"---\n", b"%YAML 1.1\n", b"\t"),
        size_max=512,
    ),
)  # fmt: skip
