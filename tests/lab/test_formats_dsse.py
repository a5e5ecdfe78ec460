"""DSSE envelopes, in-toto statements, SLSA: what verifies, what is kept whole, what is refused."""

from __future__ import annotations

import base64
import json
from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from glasslog.predicates.base import statement_id
from glasslog.statement import from_json, to_json
from glasslog_lab.errors import ArtifactError
from glasslog_lab.formats.bill import gather
from glasslog_lab.formats.dsse import dump_json, make_envelope, pae
from glasslog_lab.formats.facts import Checked, Reference
from glasslog_lab.formats.intoto import import_envelope, import_statement
from glasslog_lab.formats.keys import Key, PrivateKey, check_public
from glasslog_lab.formats.reading import Cursor, load_json
from glasslog_lab.formats.slsa import (
    PROVENANCE_TYPE,
    SUMMARY_TYPE,
    Summary,
    read_provenance,
    read_summary,
    run_of,
    write_provenance,
    write_summary,
)
from glasslog_lab.formats.statements import REFERENCE_TYPE, make_statements
from lab.formats.world import change, model_statement, run_statement

PRIVATE: list[PrivateKey] = [
    ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1()),
    ed25519.Ed25519PrivateKey.generate(), rsa.generate_private_key(65537, 2048),
]  # fmt: skip
PUBLIC = [check_public(one.public_key(), "a key") for one in PRIVATE]
PAYLOAD = to_json(model_statement()).encode()


def make(keys: list[PrivateKey], payload: bytes = PAYLOAD) -> bytes:
    return dump_json(make_envelope(payload, keys))


def refused(data: bytes, code: str, keys: list[Key] | None = None, threshold: int = 1) -> None:
    with pytest.raises(ArtifactError) as caught:
        import_envelope(data, "e.json", PUBLIC[:1] if keys is None else keys, threshold)
    assert caught.value.code == code, str(caught.value)
    assert "\n" not in str(caught.value)


def test_pae_is_as_the_specification_shows() -> None:
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


@given(st.text(max_size=20), st.binary(max_size=20), st.text(max_size=20), st.binary(max_size=20))
def test_pae_is_injective(a: str, b: bytes, c: str, d: bytes) -> None:
    assert (pae(a, b) == pae(c, d)) == ((a, b) == (c, d))


@pytest.mark.parametrize("number", range(len(PRIVATE)))
def test_each_kind_of_key_signs(number: int) -> None:
    imported = import_envelope(make([PRIVATE[number]], slsa()), "e.json", [PUBLIC[number]])
    assert imported.checked is Checked.SIGNED
    assert imported.signers == (PUBLIC[number].fingerprint,)
    assert imported.statements == (from_json(slsa()),)
    others = [key for key in PUBLIC if key is not PUBLIC[number]]
    refused(make([PRIVATE[number]]), "IMPORT-08", others)


def test_rsa_of_pkcs1_is_read_and_short_rsa_is_not() -> None:
    key = PRIVATE[3]
    assert isinstance(key, rsa.RSAPrivateKey)
    message = pae("application/vnd.in-toto+json", PAYLOAD)
    signature = key.sign(message, padding.PKCS1v15(), hashes.SHA256())
    data = change(make([key]), "signatures.0.sig", base64.b64encode(signature).decode())
    assert import_envelope(data, "e", [PUBLIC[3]]).checked is Checked.SIGNED
    weak = rsa.generate_private_key(65537, 1024)
    with pytest.raises(ArtifactError, match="IMPORT-09"):
        check_public(weak.public_key(), "a key")


def test_threshold_counts_distinct_keys() -> None:
    data = make(PRIVATE[:3])
    assert len(import_envelope(data, "e", PUBLIC, 3).signers) == 3
    refused(data, "IMPORT-08", PUBLIC, 4)
    # One key that signed twice, or was given twice, is one.
    twice = json.loads(make(PRIVATE[:1]))
    again = json.loads(make(PRIVATE[:1]))["signatures"]
    twice["signatures"] += again
    refused(json.dumps(twice).encode(), "IMPORT-08", [PUBLIC[0], PUBLIC[0], PUBLIC[1]], 2)


def test_url_safe_base64_is_read() -> None:
    data = json.loads(make(PRIVATE[:1]))
    data["payload"] = base64.urlsafe_b64encode(PAYLOAD).decode().rstrip("=")
    data["signatures"][0]["sig"] = data["signatures"][0]["sig"].replace("+", "-").replace("/", "_")
    assert import_envelope(json.dumps(data).encode(), "e", PUBLIC).checked is Checked.SIGNED


@pytest.mark.parametrize(
    "keyid", ["", None, ..., "x", PUBLIC[1].fingerprint], ids=["empty", "null", "none", "x", "other"]
)
def test_keyid_decides_nothing(keyid: Any) -> None:
    assert import_envelope(change(make(PRIVATE[:1]), "signatures.0.keyid", keyid), "e", PUBLIC).signers


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        ("payloadType", "text/plain", "IMPORT-07"),
        ("payloadType", ..., "IMPORT-05"),
        ("payload", ..., "IMPORT-05"),
        ("payload", 5, "IMPORT-05"),
        ("payload", "a b", "IMPORT-06"),
        ("payload", base64.b64encode(b"{}").decode(), "IMPORT-08"),
        ("signatures", {}, "IMPORT-05"),
        ("signatures", [], "IMPORT-08"),
        ("signatures", [{"sig": "YQ=="}] * 2, "IMPORT-08"),
        ("signatures", [{"sig": base64.b64encode(bytes([n])).decode()} for n in range(1, 70)], "IMPORT-08"),
        ("signatures.0.sig", "YQ==", "IMPORT-08"),
        ("signatures.0.sig", base64.b64encode(bytes(5000)).decode(), "IMPORT-08"),
    ],
)
def test_spoilt_envelope_is_refused(path: str, value: Any, code: str) -> None:
    refused(change(make(PRIVATE[:1]), path, value), code)


def test_envelope_without_a_signature_is_refused_also_where_no_key_is_given() -> None:
    refused(change(make(PRIVATE[:1]), "signatures", []), "IMPORT-08", [])


@pytest.mark.parametrize("cut", [1, 10, 200, -1, -20])
def test_cut_envelope_is_refused(cut: int) -> None:
    refused(make(PRIVATE[:1]).strip()[:cut], "IMPORT-02")


def test_payload_that_is_no_statement_is_refused_though_signed() -> None:
    for payload, code in (
        (b"[]", "IMPORT-05"), (b'{"_type":"x"}', "IMPORT-05"), (b"{", "IMPORT-02"), (b'{"a":1,"a":1}', "IMPORT-02"),
        (change(PAYLOAD, "subject", []), "IMPORT-05"), (change(slsa(), "subject", []), "IMPORT-05"),
        (change(PAYLOAD, "subject.0.digest", {}), "IMPORT-05"), (change(PAYLOAD, "subject.0.digest", ...), "IMPORT-05"),
        (change(PAYLOAD, "_type", "https://in-toto.io/Statement/v0.1"), "IMPORT-05"),
    ):  # fmt: skip
        refused(make(PRIVATE[:1], payload), code)


def test_unverified_is_said_and_the_original_is_kept() -> None:
    data = make(PRIVATE[:1], slsa())
    imported = import_envelope(data, "e.json")
    assert imported.checked is Checked.DECLARED
    assert imported.verdict() == "declared, unverified"
    assert imported.evidence[0].data == data
    assert imported.evidence[0].digest == sha256(data).digest()
    assert "no signature over it was verified" in imported.notes[0]
    (statement,) = make_statements(imported)
    reference: Any = json.loads(to_json(statement))
    assert reference["predicateType"] == REFERENCE_TYPE
    assert reference["predicate"]["references"][0]["digest"]["sha256"] == sha256(data).hexdigest()
    assert reference["predicate"]["references"][0]["annotations"]["checked"] == "declared"


def test_signed_statement_is_entered_as_it_was_signed_and_referred_to() -> None:
    imported = import_envelope(make(PRIVATE[:1], slsa()), "e.json", PUBLIC)
    entered, statement = make_statements(imported)
    assert entered == from_json(slsa())
    reference: Any = json.loads(to_json(statement))
    annotations = reference["predicate"]["references"][0]["annotations"]
    assert annotations["glasslogStatementV1"] == [statement_id(entered).hex()]
    assert (annotations["checked"], annotations["signers"]) == ("signed", [PUBLIC[0].fingerprint])


@pytest.mark.parametrize("signed", [True, False])
def test_predicate_of_ours_never_becomes_the_importer_s_word(signed: bool) -> None:
    """Else whoever sends a lab a withdrawal of its own model could make it withdraw that model."""
    withdrawal = change(slsa(), "predicateType", "urn:glasslog:predicate:withdrawal:v1")
    imported = import_envelope(make(PRIVATE[:1], withdrawal), "e.json", PUBLIC if signed else [])
    assert imported.statements == ()
    assert [one["predicateType"] for one in make_statements(imported)] == [REFERENCE_TYPE]
    if signed:
        assert "kept as evidence only: urn:glasslog:predicate:withdrawal:v1 speaks for" in imported.notes[0]


def test_statement_that_the_ledger_cannot_carry_is_kept_as_evidence() -> None:
    strange = change(slsa(), "unknownMember", 1)
    imported = import_envelope(make(PRIVATE[:1], strange), "e.json", PUBLIC)
    assert imported.statements == ()
    assert "kept as evidence only: STMT-07" in imported.notes[0]
    assert len(make_statements(imported)) == 1


# --- SLSA -----------------------------------------------------------------------------------------


def slsa() -> bytes:
    bill = gather([model_statement(), run_statement()])
    outputs = list(bill.models[0][0])
    run = run_of(*bill.runs[0], builder="https://lab.example.org/cluster", outputs=outputs)
    return to_json(write_provenance(run)).encode()


def test_run_becomes_provenance_and_is_read_back() -> None:
    value: Any = json.loads(slsa())
    assert value["predicateType"] == PROVENANCE_TYPE
    definition = value["predicate"]["buildDefinition"]
    assert definition["buildType"] == "urn:glasslog:buildtype:training:v1"
    assert definition["externalParameters"] == {"learningRate": "0.1", "epochs": 3}
    assert [one.get("name") for one in definition["resolvedDependencies"]] == [None, "digits", "initial weights"]
    imported = import_statement(slsa(), "p.json")
    run = imported.runs[0]
    assert run.builder == "https://lab.example.org/cluster"
    assert run.started == "2026-01-01T00:00:00Z"
    assert run.outputs[0].name == "tiny"
    assert imported.checked is Checked.DECLARED
    assert len(make_statements(imported)) == 1
    with pytest.raises(ArtifactError, match="EXPORT-03"):
        write_provenance(run_of(*gather([run_statement()]).runs[0], builder="https://x.example", outputs=[]))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("predicate.buildDefinition", ...), ("predicate.runDetails", ...), ("predicate.runDetails.builder", {}),
        ("predicate.buildDefinition.buildType", 3), ("predicate.buildDefinition.externalParameters", []),
        ("predicate.buildDefinition.resolvedDependencies", [{}]), ("predicate.runDetails.metadata.startedOn", "noon"),
        ("predicateType", "https://slsa.dev/provenance/v0.2"),
    ],
)  # fmt: skip
def test_provenance_that_is_none_is_refused(path: str, value: Any) -> None:
    with pytest.raises(ArtifactError, match="IMPORT-05"):
        read_provenance(Cursor("p", "", load_json(change(slsa(), path, value), "p")))


def test_summary_goes_out_and_comes_back() -> None:
    summary = Summary(
        verifier="https://institute.example/verifier", time_verified="2026-03-01T00:00:00Z",
        resource_uri="pkg:huggingface/lab/tiny@1", policy=Reference(uri="https://institute.example/policy"),
        result="FAILED", levels=("SLSA_BUILD_LEVEL_2", "FAILED"),
        inputs=(Reference(digests={"sha256": "0" * 64}),),
    )  # fmt: skip
    statement = write_summary(summary, [Reference(name="tiny", digests={"sha256": "1" * 64})])
    data = to_json(statement).encode()
    assert json.loads(data)["predicateType"] == SUMMARY_TYPE
    assert read_summary(Cursor("v", "", load_json(data, "v"))) == summary
    for path, value in (
        ("predicate.verificationResult", "MAYBE"),
        ("predicate.timeVerified", "x"),
        ("predicate.policy", {}),
    ):
        with pytest.raises(ArtifactError, match="IMPORT-05"):
            read_summary(Cursor("v", "", load_json(change(data, path, value), "v")))
    with pytest.raises(ArtifactError, match="EXPORT-03"):
        write_summary(summary, [])
