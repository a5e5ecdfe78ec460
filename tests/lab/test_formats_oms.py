"""OMS bundles: made and verified here, hostile ones refused; another program's verdict is in test_formats_oracle."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from glasslog.predicates.base import list_subjects
from glasslog.statement import to_json
from glasslog_lab.errors import ArtifactError
from glasslog_lab.formats.certificates import describe_identity
from glasslog_lab.formats.dsse import INTOTO_PAYLOAD, pae
from glasslog_lab.formats.facts import Checked
from glasslog_lab.formats.keys import Key, make_signing_key, read_private_key, read_public_key, sign
from glasslog_lab.formats.oms import Trust, import_bundle, make_bundle, read_bundle, sign_folder
from glasslog_lab.formats.oms_manifest import HashType, Serialization, measure_folder
from glasslog_lab.formats.oms_statement import OMS_TYPE, write_statement
from glasslog_lab.formats.statements import REFERENCE_TYPE, make_statements
from lab.formats.world import FILES, START, change, make_certificate, make_folder

KEY = ec.generate_private_key(ec.SECP256R1())
OTHER = ec.generate_private_key(ec.SECP256R1())
PUBLIC = Key(KEY.public_key())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("oms") / "model")


@pytest.fixture(scope="module")
def bundle(folder: Path) -> bytes:
    return sign_folder(folder, KEY)


def get_statement(bundle: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.b64decode(json.loads(bundle)["dsseEnvelope"]["payload"]))
    return found


def resign(bundle: bytes, statement: object, key: ec.EllipticCurvePrivateKey = KEY) -> bytes:
    """The bundle with another statement, properly signed: what a hostile signer can make."""
    payload = statement if isinstance(statement, bytes) else json.dumps(statement).encode()
    bundle = change(bundle, "dsseEnvelope.payload", base64.b64encode(payload).decode())
    signature = sign(key, pae(INTOTO_PAYLOAD, payload))
    return change(bundle, "dsseEnvelope.signatures.0.sig", base64.b64encode(signature).decode())


def refused(data: bytes, code: str, **options: Any) -> str:
    options.setdefault("trust", Trust(keys=[PUBLIC]))
    with pytest.raises(ArtifactError) as caught:
        import_bundle(data, "model.sig", **options)
    assert caught.value.code == code, str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("hash_type", ["sha256", "blake2b", "blake3"])
@pytest.mark.parametrize("shard", [None, 999, 5000])
def test_bundle_is_made_and_verified(folder: Path, hash_type: HashType, shard: int | None) -> None:
    options = Serialization(method="shards" if shard else "files", shard_size=shard, hash_type=hash_type)
    data = sign_folder(folder, KEY, serialization=options)
    imported = import_bundle(data, "model.sig", trust=Trust(keys=[PUBLIC]), folder=folder)
    assert imported.checked is Checked.REHASHED
    assert imported.verdict() == "signed by a key you gave, and every file hashed here"
    names = {file.name for file in imported.models[0].files}
    assert names == set(FILES) - ({"empty"} if shard else set())


def test_signed_statement_is_entered_and_its_subject_is_no_identity(bundle: bytes) -> None:
    """The subject's digest is of digests alone: other names of the same files have it too."""
    imported = import_bundle(bundle, "model.sig", trust=Trust(keys=[PUBLIC]))
    entered, reference = make_statements(imported)
    assert entered["predicateType"] == OMS_TYPE
    root = read_bundle(bundle, "x").manifest.root()
    assert all({"sha256": root} != one.digest for one in list_subjects(reference))
    assert {one.name for one in list_subjects(reference)} == set(FILES)
    unsigned = make_statements(import_bundle(bundle, "model.sig"))
    assert [one["predicateType"] for one in unsigned] == [REFERENCE_TYPE]


def test_manifest_is_as_the_specification_has_it(bundle: bytes) -> None:
    statement = get_statement(bundle)
    names = [one["name"] for one in statement["predicate"]["resources"]]
    assert names == sorted(FILES)
    digests = b"".join(sha256(FILES[name]).digest() for name in names)
    assert statement["subject"] == [{"name": "model", "digest": {"sha256": sha256(digests).hexdigest()}}]
    assert statement["predicate"]["serialization"] == {
        "method": "files", "hash_type": "sha256", "allow_symlinks": False,
        "ignore_paths": [".git", ".gitattributes", ".github", ".gitignore"],
    }  # fmt: skip


def test_statement_is_the_same_bytes_every_time(folder: Path) -> None:
    made = {write_statement(measure_folder(folder, Serialization())) for _ in range(3)}
    made |= {base64.b64decode(json.loads(sign_folder(folder, KEY))["dsseEnvelope"]["payload"]) for _ in range(2)}
    assert len(made) == 1


def test_how_far_it_was_checked_is_said(folder: Path, bundle: bytes) -> None:
    nothing = import_bundle(bundle, "model.sig")
    assert nothing.checked is Checked.DECLARED
    assert nothing.verdict() == "declared, unverified"
    assert "the signature: neither key nor root was given" in nothing.unchecked
    signed = import_bundle(bundle, "model.sig", trust=Trust(keys=[PUBLIC]))
    assert signed.checked is Checked.SIGNED
    assert "the files themselves: no folder was given" in signed.unchecked
    # Files that were compared with a manifest nobody verified are rehashed; who signed is still not known.
    compared = import_bundle(bundle, "model.sig", folder=folder)
    assert compared.checked is Checked.DECLARED
    assert compared.models[0].sources["files"].checked is Checked.REHASHED
    assert compared.models[0].sources["name"].checked is Checked.DECLARED


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_each_curve_of_oms_signs(folder: Path, curve: ec.EllipticCurve) -> None:
    key = ec.generate_private_key(curve)
    data = sign_folder(folder, key)
    trust = Trust(keys=[PUBLIC, Key(key.public_key())])
    assert import_bundle(data, "x", trust=trust, folder=folder).checked is Checked.REHASHED
    refused(data, "IMPORT-09")


def test_other_kinds_of_key_do_not_sign(folder: Path) -> None:
    with pytest.raises(ArtifactError, match="EXPORT-04"):
        sign_folder(folder, ed25519.Ed25519PrivateKey.generate())
    with pytest.raises(ArtifactError, match="IMPORT-09"):
        sign_folder(folder, ec.generate_private_key(ec.SECP256K1()))


def test_bundle_inside_the_folder_is_left_out(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "m")
    place = folder / "sub" / "model.sig"
    place.write_bytes(sign_folder(folder, KEY, output=place))
    assert "sub/model.sig" in get_statement(place.read_bytes())["predicate"]["serialization"]["ignore_paths"]
    trust = Trust(keys=[PUBLIC])
    import_bundle(place.read_bytes(), str(place), trust=trust, folder=folder, excluded=[place])
    # Also where the reader does not know where the bundle is: the manifest says that it is left out.
    import_bundle(place.read_bytes(), "elsewhere", trust=trust, folder=folder)


def test_what_changed_in_the_folder_is_named(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "m")
    data = sign_folder(folder, KEY)
    (folder / "weights" / "model.bin").write_bytes(b"w" * 4999 + b"v")
    assert "weights/model.bin is not what was signed" in refused(data, "IMPORT-13", folder=folder)
    (folder / "weights" / "model.bin").unlink()
    assert "weights/model.bin was signed and is not here" in refused(data, "IMPORT-13", folder=folder)
    (folder / "weights" / "model.bin").write_bytes(FILES["weights/model.bin"])
    (folder / "extra.py").write_text("import os\n")
    assert "extra.py is here and was not signed" in refused(data, "IMPORT-13", folder=folder)
    imported = import_bundle(data, "x", trust=Trust(keys=[PUBLIC]), folder=folder, allow_extra=True)
    assert "files that are in the folder and were not signed" in imported.unchecked
    (folder / "sub" / ".gitattributes").write_text("only at the top is it left out")
    refused(data, "IMPORT-13", folder=folder)


def test_empty_file_counts_as_a_file_and_not_as_a_shard(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "m")
    whole, shards = sign_folder(folder, KEY), sign_folder(folder, KEY, serialization=Serialization(method="shards"))
    (folder / "empty").unlink()
    refused(whole, "IMPORT-13", folder=folder)
    import_bundle(shards, "x", trust=Trust(keys=[PUBLIC]), folder=folder)


def test_one_file_is_a_model_too(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"o")
    data = sign_folder(tmp_path / "model.onnx", KEY, output=tmp_path / "model.sig")
    assert [one["name"] for one in get_statement(data)["predicate"]["resources"]] == ["model.onnx"]
    import_bundle(data, "x", trust=Trust(keys=[PUBLIC]), folder=tmp_path / "model.onnx")


def test_links_are_refused_or_followed_inside_only(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "m")
    (folder / "link").symlink_to("config.json")
    with pytest.raises(ArtifactError, match=r"IMPORT-11 .*is a link"):
        sign_folder(folder, KEY)
    followed = sign_folder(folder, KEY, serialization=Serialization(allow_symlinks=True))
    import_bundle(followed, "x", trust=Trust(keys=[PUBLIC]), folder=folder)
    assert {"link", "config.json"} <= {one["name"] for one in get_statement(followed)["predicate"]["resources"]}
    (folder / "link").unlink()
    for target in ("/etc/passwd", "../outside", "weights"):
        (tmp_path / "outside").write_text("x")
        (folder / "link").symlink_to(target)
        with pytest.raises(ArtifactError, match="IMPORT-11"):
            sign_folder(folder, KEY, serialization=Serialization(allow_symlinks=True))
        (folder / "link").unlink()
    os.mkfifo(folder / "pipe")
    with pytest.raises(ArtifactError, match="IMPORT-11"):
        sign_folder(folder, KEY)


def test_folder_with_nothing_to_sign_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text("x")
    with pytest.raises(ArtifactError, match="IMPORT-05"):
        sign_folder(tmp_path, KEY)
    with pytest.raises(ArtifactError, match="FILE-01"):
        sign_folder(tmp_path / "absent", KEY)


def test_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")).write_text("x")
    with pytest.raises(ArtifactError, match="IMPORT-11"):
        sign_folder(tmp_path, KEY)


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        ("mediaType", "application/json", "IMPORT-05"),
        ("verificationMaterial", ..., "IMPORT-05"),
        ("verificationMaterial.publicKey", ..., "IMPORT-05"),
        ("verificationMaterial.publicKey.hint", "0" * 64, "IMPORT-09"),
        ("verificationMaterial.publicKey.hint", 7, "IMPORT-05"),
        ("verificationMaterial.certificate", {"rawBytes": "YQ=="}, "IMPORT-05"),
        ("dsseEnvelope", ..., "IMPORT-05"),
        ("dsseEnvelope.payloadType", "application/vnd.in-toto+xml", "IMPORT-07"),
        ("dsseEnvelope.payload", "%%%", "IMPORT-06"),
        ("dsseEnvelope.signatures", [], "IMPORT-08"),
        ("dsseEnvelope.signatures", ..., "IMPORT-05"),
        ("dsseEnvelope.signatures.0.sig", "", "IMPORT-08"),
        ("dsseEnvelope.signatures.0.sig", "YWJj", "IMPORT-08"),
        ("dsseEnvelope.signatures.0.keyid", 5, "IMPORT-05"),
    ],
)
def test_spoilt_bundle_is_refused(bundle: bytes, path: str, value: Any, code: str) -> None:
    refused(change(bundle, path, value), code)


@pytest.mark.parametrize("keyid", ["", None, ..., "whatever"])
def test_keyid_decides_nothing(bundle: bytes, keyid: Any) -> None:
    data = change(bundle, "dsseEnvelope.signatures.0.keyid", keyid)
    assert import_bundle(data, "x", trust=Trust(keys=[PUBLIC])).checked is Checked.SIGNED


def test_two_signatures_are_refused(bundle: bytes) -> None:
    one = json.loads(bundle)["dsseEnvelope"]["signatures"][0]
    other = {**one, "sig": base64.b64encode(sign(KEY, b"x")).decode()}
    assert "stands twice" in refused(change(bundle, "dsseEnvelope.signatures", [one, one]), "IMPORT-08")
    refused(change(bundle, "dsseEnvelope.signatures", [one, other]), "IMPORT-08")


def test_signature_of_another_key_or_over_other_bytes_is_refused(bundle: bytes) -> None:
    statement = get_statement(bundle)
    refused(resign(bundle, statement, OTHER), "IMPORT-08")
    refused(bundle, "IMPORT-09", trust=Trust(keys=[Key(OTHER.public_key())]))
    unhinted = change(bundle, "verificationMaterial.publicKey", {"rawBytes": "YQ=="})
    assert import_bundle(unhinted, "x", trust=Trust(keys=[PUBLIC])).checked is Checked.SIGNED
    refused(unhinted, "IMPORT-08", trust=Trust(keys=[Key(OTHER.public_key())]))
    payload = json.dumps(statement).encode()
    for message in (payload, pae("application/json", payload), pae(INTOTO_PAYLOAD, payload + b" ")):
        data = change(bundle, "dsseEnvelope.payload", base64.b64encode(payload).decode())
        sig = base64.b64encode(sign(KEY, message)).decode()
        refused(change(data, "dsseEnvelope.signatures.0.sig", sig), "IMPORT-08")


HOSTILE_NAMES = ["../up", "/etc/passwd", "a/../../b", "./a", "a//b", "a/", "", ".", "a\\b", "a\nb", "..", "a\x00b"]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_path_out_of_the_folder_is_refused_though_signed(bundle: bytes, name: str) -> None:
    statement = get_statement(bundle)
    resource = {"name": name, "digest": "0" * 64, "algorithm": "sha256"}
    statement["predicate"]["resources"] = [resource]
    refused(resign(bundle, statement), "IMPORT-11")


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        ("_type", "https://in-toto.io/Statement/v0.1", "IMPORT-05"),
        ("predicateType", "https://example.com/wrong/v1", "IMPORT-05"),
        ("extra", 1, "IMPORT-05"),
        ("predicate.extra", 1, "IMPORT-05"),
        ("predicate.serialization.extra", 1, "IMPORT-05"),
        ("predicate.serialization.method", "pieces", "IMPORT-05"),
        ("predicate.serialization.hash_type", "md5", "IMPORT-05"),
        ("predicate.serialization.hash_type", "blake2b", "IMPORT-12"),
        ("predicate.serialization.shard_size", 5, "IMPORT-05"),
        ("predicate.serialization.allow_symlinks", "false", "IMPORT-05"),
        ("predicate.serialization.ignore_paths", ["*.py"], "IMPORT-11"),
        ("predicate.serialization.ignore_paths", ["../up"], "IMPORT-11"),
        ("predicate.serialization.ignore_paths", ["/"], "IMPORT-11"),
        ("predicate.resources", [], "IMPORT-12"),
        ("predicate.resources.0.digest", "0" * 63, "IMPORT-12"),
        ("predicate.resources.0.digest", "Z" * 64, "IMPORT-12"),
        ("predicate.resources.0.algorithm", "blake3", "IMPORT-12"),
        ("predicate.resources.0.name", "zzz", "IMPORT-12"),
        ("predicate.resources.1.name", "config.json", "IMPORT-12"),
        ("subject", [], "IMPORT-12"),
        ("subject.0.digest.sha256", "0" * 64, "IMPORT-12"),
        ("subject.0.digest.sha256", ..., "IMPORT-05"),
        ("predicate.resources.0.digest", "1" * 64, "IMPORT-12"),
    ],
)
def test_statement_that_is_none_is_refused_though_signed(bundle: bytes, path: str, value: Any, code: str) -> None:
    refused(resign(bundle, change(json.dumps(get_statement(bundle)).encode(), path, value)), code)


def test_two_subjects_are_refused(bundle: bytes) -> None:
    statement = get_statement(bundle)
    refused(resign(bundle, {**statement, "subject": statement["subject"] * 2}), "IMPORT-12")


@pytest.mark.parametrize(
    "name", ["a", "a:0", "a:0:x", "a:0:07", "a:5:9", "a:0:11", "a:0:0", "../a:0:9", ":0:9", "a:0:٣"]
)
def test_shard_that_is_none_is_refused(folder: Path, bundle: bytes, name: str) -> None:
    data = sign_folder(folder, KEY, serialization=Serialization(method="shards", shard_size=10))
    statement = get_statement(data)
    statement["predicate"]["resources"] = [{"name": name, "digest": "0" * 64, "algorithm": "sha256"}]
    assert refused(resign(bundle, statement), "IMPORT-11" if "../" in name else "IMPORT-12")


def test_order_of_the_reference_implementation_is_read_too(bundle: bytes) -> None:
    """It sorts by the parts of paths, so ``weights/a/b`` stands before ``weights/a-b``."""
    statement = get_statement(bundle)
    resources = sorted(statement["predicate"]["resources"], key=lambda one: one["name"].split("/"))
    assert resources != statement["predicate"]["resources"]
    root = sha256(b"".join(bytes.fromhex(one["digest"]) for one in resources)).hexdigest()
    statement["predicate"]["resources"], statement["subject"][0]["digest"]["sha256"] = resources, root
    assert import_bundle(resign(bundle, statement), "x", trust=Trust(keys=[PUBLIC])).checked is Checked.SIGNED


def test_old_digests_are_read(folder: Path, bundle: bytes) -> None:
    statement = {
        "_type": "https://in-toto.io/Statement/v1", "predicateType": "https://model_signing/Digests/v0.1",
        "subject": [{"name": name, "digest": {"sha256": sha256(data).hexdigest()}} for name, data in FILES.items()],
        "predicate": {"unused": "Unused"},
    }  # fmt: skip
    trust = Trust(keys=[PUBLIC])
    data = resign(bundle, statement)
    assert import_bundle(data, "x", trust=trust, folder=folder).checked is Checked.REHASHED
    # As release 0.2 signed: over the text that Python prints of the payload.
    payload = json.dumps(statement).encode()
    message = f"DSSEV1 {len(INTOTO_PAYLOAD)} {INTOTO_PAYLOAD} {len(payload)} {payload!r}".encode()
    old = change(data, "dsseEnvelope.signatures.0.sig", base64.b64encode(sign(KEY, message)).decode())
    assert import_bundle(old, "x", trust=trust, folder=folder).checked is Checked.REHASHED
    # That reading is for the old type alone.
    payload = json.dumps(get_statement(bundle)).encode()
    message = f"DSSEV1 {len(INTOTO_PAYLOAD)} {INTOTO_PAYLOAD} {len(payload)} {payload!r}".encode()
    new = change(bundle, "dsseEnvelope.payload", base64.b64encode(payload).decode())
    refused(change(new, "dsseEnvelope.signatures.0.sig", base64.b64encode(sign(KEY, message)).decode()), "IMPORT-08")


# --- certificates ---------------------------------------------------------------------------------

CA_KEY, MIDDLE_KEY = ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP256R1())
ROOT = make_certificate("root", CA_KEY, ("root", CA_KEY), ca=True)
MIDDLE = make_certificate("middle", MIDDLE_KEY, ("root", CA_KEY), ca=True, path_length=0)
LEAF = make_certificate("lab", KEY, ("middle", MIDDLE_KEY))


def sign_with(folder: Path, *chain: x509.Certificate) -> bytes:
    return sign_folder(folder, KEY, certificates=[one.public_bytes(Encoding.DER) for one in chain])


def test_certificate_leads_to_a_given_root(folder: Path) -> None:
    data = sign_with(folder, LEAF, MIDDLE)
    imported = import_bundle(data, "x", trust=Trust(roots=[ROOT]), folder=folder)
    assert imported.checked is Checked.REHASHED
    assert (imported.signers, imported.identities) == ((PUBLIC.fingerprint,), ("lab@example.org",))
    # A certificate may name a person, and the log forgets nothing: the name is for whoever imports, and not entered.
    assert not any("lab@example.org" in to_json(one) for one in make_statements(imported))
    assert "whether a certificate was revoked" in imported.unchecked
    assert any("judged at the moment" in one for one in imported.unchecked)
    assert import_bundle(data, "x", trust=Trust()).checked is Checked.DECLARED
    refused(data, "IMPORT-10", trust=Trust(keys=[PUBLIC]))


def chains() -> dict[str, tuple[list[x509.Certificate], Trust]]:
    rogue_key = ec.generate_private_key(ec.SECP256R1())
    rogue = make_certificate("root", rogue_key, ("root", rogue_key), ca=True)
    no_ca = make_certificate("middle", MIDDLE_KEY, ("root", CA_KEY))
    below = make_certificate("below", rogue_key, ("middle", MIDDLE_KEY), ca=True)
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    trust = Trust(roots=[ROOT])
    return {
        "missing issuer": ([LEAF], trust),
        "another root of the same name": ([LEAF, MIDDLE], Trust(roots=[rogue])),
        "issuer is no authority": ([LEAF, no_ca], trust),
        "path too long": ([make_certificate("lab", KEY, ("below", rogue_key)), below, MIDDLE], trust),
        "leaf forged": ([make_certificate("lab", KEY, ("middle", rogue_key)), MIDDLE], trust),
        "leaf may not sign": ([make_certificate("lab", KEY, ("root", CA_KEY), signs=False)], trust),
        "critical extension": ([make_certificate("lab", KEY, ("root", CA_KEY), extra=unknown)], trust),
        "not yet valid": ([LEAF, MIDDLE], replace(trust, at=START.replace(year=2025))),
        "authority as leaf": ([make_certificate("lab", KEY, ("root", CA_KEY), ca=True)], trust),
        "leaf for another use": (
            [make_certificate("lab", KEY, ("root", CA_KEY), usage=ExtendedKeyUsageOID.SERVER_AUTH)], trust,
        ),
        "leaf without a use": ([make_certificate("lab", KEY, ("root", CA_KEY), usage=None)], trust),
        "expired later": ([LEAF, MIDDLE], replace(trust, at=START.replace(year=2030))),
        "issuer younger than leaf": (
            [LEAF, make_certificate("middle", MIDDLE_KEY, ("root", CA_KEY), ca=True, start=START.replace(month=2))],
            trust,
        ),
        "circle": (
            [
                make_certificate("lab", KEY, ("a", CA_KEY)),
                make_certificate("a", CA_KEY, ("b", MIDDLE_KEY), ca=True),
                make_certificate("b", MIDDLE_KEY, ("a", CA_KEY), ca=True),
            ],
            Trust(roots=[rogue]),
        ),
    }  # fmt: skip


@pytest.mark.parametrize("case", list(chains()))
def test_chain_that_leads_nowhere_is_refused(folder: Path, case: str) -> None:
    chain, trust = chains()[case]
    refused(sign_with(folder, *chain), "IMPORT-10", trust=trust)


def test_certificate_of_another_key_does_not_sign(folder: Path) -> None:
    with pytest.raises(ArtifactError, match="EXPORT-04"):
        sign_with(folder, make_certificate("lab", OTHER, ("root", CA_KEY)))


@pytest.mark.parametrize("raw", ["", "YWJj", "%%"])
def test_certificate_that_is_none_is_refused(folder: Path, raw: str) -> None:
    data = sign_with(folder, LEAF, MIDDLE)
    path = "verificationMaterial.x509CertificateChain.certificates.1.rawBytes"
    refused(change(data, path, raw), "IMPORT-06" if raw == "%%" else "IMPORT-10", trust=Trust(roots=[ROOT]))


def test_identity_is_shown_whatever_its_issuer_writes() -> None:
    """Fulcio's issuer is a DER text; a forger may leave any bytes there."""
    oid = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
    for raw, shown in (
        (b"\x0c\x03abc", "abc"),
        (b"abc", "abc"),
        (b"\x0c", r"\x0c"),
        (b"", ""),
        (b"\x1b[2J", r"\x1b[2J"),
    ):
        leaf = make_certificate("lab", KEY, ("root", CA_KEY), extra=x509.UnrecognizedExtension(oid, raw))
        assert describe_identity(leaf) == f"lab@example.org (according to {shown})"


def make_keyless(folder: Path) -> bytes:
    data = json.loads(sign_with(folder, LEAF))
    raw = data["verificationMaterial"].pop("x509CertificateChain")["certificates"][0]
    data["verificationMaterial"] |= {"certificate": raw, "tlogEntries": [{"logIndex": "1"}]}
    return json.dumps(data).encode()


def test_keyless_bundle_says_what_was_not_checked(folder: Path) -> None:
    data = make_keyless(folder)
    imported = import_bundle(data, "x", folder=folder)
    assert imported.checked is Checked.ENCLOSED
    assert imported.verdict() == "consistent with a key that it brings itself; whose key that is was not checked"
    assert imported.identities == ("lab@example.org, by its own claim",)
    assert not any("lab@example.org" in to_json(one) for one in make_statements(imported))
    assert any("Fulcio" in one for one in imported.unchecked)
    assert any("Rekor" in one for one in imported.unchecked)
    trusted = import_bundle(data, "x", trust=Trust(roots=[MIDDLE]))
    assert trusted.checked is Checked.SIGNED
    assert any("Rekor" in one for one in trusted.unchecked)
    refused(change(data, "verificationMaterial.tlogEntries", []), "IMPORT-05")
    spoilt = change(data, "dsseEnvelope.signatures.0.sig", base64.b64encode(sign(OTHER, b"x")).decode())
    refused(spoilt, "IMPORT-08", trust=None)


# --- keys -----------------------------------------------------------------------------------------


def test_key_is_made_once_and_kept_secret(tmp_path: Path) -> None:
    made = make_signing_key(tmp_path / "k.pem")
    assert (tmp_path / "k.pem").stat().st_mode & 0o777 == 0o600
    assert read_public_key(tmp_path / "k.pem.pub").fingerprint == made.fingerprint
    private = read_private_key(tmp_path / "k.pem")
    assert made.verifies(sign(private, b"m"), b"m")
    with pytest.raises(ArtifactError, match=r"EXPORT-02 .*is there already"):
        make_signing_key(tmp_path / "k.pem")
    with pytest.raises(ArtifactError, match="EXPORT-02"):
        read_private_key(tmp_path / "k.pem.pub")
    with pytest.raises(ArtifactError, match="IMPORT-09"):
        read_public_key(tmp_path / "k.pem")
    with pytest.raises(ArtifactError, match="IMPORT-01"):
        read_public_key(tmp_path / "absent")


def test_signature_over_a_digest_of_a_shorter_hash_is_refused(bundle: bytes) -> None:
    payload = base64.b64decode(json.loads(bundle)["dsseEnvelope"]["payload"])
    short = KEY.sign(pae(INTOTO_PAYLOAD, payload), ec.ECDSA(hashes.SHA224()))
    refused(change(bundle, "dsseEnvelope.signatures.0.sig", base64.b64encode(short).decode()), "IMPORT-08")


def test_manifest_can_be_signed_from_digests_made_elsewhere(folder: Path) -> None:
    calls = list[tuple[str, int, int]]()

    def digester(path: Path, hash_type: HashType, start: int, end: int) -> bytes:
        assert hash_type == "sha256"
        calls.append((path.name, start, end))
        return sha256(path.read_bytes()[start:end]).digest()

    manifest = measure_folder(folder, Serialization(), digester=digester)
    data = make_bundle(manifest, KEY)
    assert ("model.bin", 0, 5000) in calls
    assert import_bundle(data, "x", trust=Trust(keys=[PUBLIC]), folder=folder).checked is Checked.REHASHED
    assert read_bundle(data, "x").manifest.root() == manifest.root()
