"""OpenSSF's own ``model_signing`` 1.1.1 accepts our bundles and no forgeries, and we accept its bundles.

It needs pyOpenSSL beside it, which it does not declare, and much else (sigstore, protobuf, a TUF client), so it runs in
an environment of its own: ``GLASSLOG_OMS_PYTHON`` names its Python, and without one these tests say that they were
skipped. ``pip install model-signing==1.1.1 pyopenssl`` makes it.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from glasslog_lab.errors import ArtifactError
from glasslog_lab.formats.facts import Checked
from glasslog_lab.formats.keys import Key
from glasslog_lab.formats.oms import Trust, import_bundle, sign_folder
from glasslog_lab.formats.oms_manifest import Serialization
from lab.formats.world import make_certificate, make_folder, write_private, write_public

pytestmark = pytest.mark.xdist_group("model-signing")


@pytest.fixture(scope="session")
def oracle() -> Path:
    """The Python of an environment that holds model_signing."""
    given = os.environ.get("GLASSLOG_OMS_PYTHON")
    if given is None and all(find_spec(name) for name in ("model_signing", "OpenSSL")):
        return Path(sys.executable)
    if given is None:
        pytest.skip("model-signing 1.1.1 and pyopenssl are not here (GLASSLOG_OMS_PYTHON names a Python that has them)")
    return Path(given)


def run(oracle: Path, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(oracle), "-m", "model_signing", *map(str, words)], capture_output=True, text=True, timeout=120, check=False
    )


def verify(oracle: Path, folder: Path, signature: Path, public: Path) -> bool:
    done = run(oracle, "verify", "key", folder, "--signature", signature, "--public_key", public)
    assert done.returncode in (0, 1), done.stderr
    assert ("Verification succeeded" in done.stdout + done.stderr) == (done.returncode == 0)
    return done.returncode == 0


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_our_bundle_is_accepted_and_forgeries_are_not(oracle: Path, tmp_path: Path, curve: ec.EllipticCurve) -> None:
    key = ec.generate_private_key(curve)
    folder, public = make_folder(tmp_path / "model"), write_public(key, tmp_path / "key.pub")
    signature = folder / "model.sig"
    signature.write_bytes(sign_folder(folder, key, output=signature))
    assert verify(oracle, folder, signature, public)
    other = write_public(ec.generate_private_key(curve), tmp_path / "other.pub")
    assert not verify(oracle, folder, signature, other)
    (folder / "weights" / "model.bin").write_bytes(b"w" * 4999 + b"v")
    assert not verify(oracle, folder, signature, public)
    with pytest.raises(ArtifactError, match="IMPORT-13"):
        import_bundle(signature.read_bytes(), "model.sig", trust=Trust(keys=[Key(key.public_key())]), folder=folder)


def test_its_bundle_is_accepted_by_us(oracle: Path, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    folder, private = make_folder(tmp_path / "model"), write_private(key, tmp_path / "key")
    signature = folder / "model.sig"
    done = run(oracle, "sign", "key", folder, "--signature", signature, "--private_key", private)
    assert done.returncode == 0, done.stderr
    trust = Trust(keys=[Key(key.public_key())])
    imported = import_bundle(signature.read_bytes(), "model.sig", trust=trust, folder=folder, excluded=[signature])
    assert imported.checked is Checked.REHASHED
    assert import_bundle(signature.read_bytes(), "x", trust=trust, folder=folder).checked is Checked.REHASHED
    (folder / "config.json").write_text("{ }")
    with pytest.raises(ArtifactError, match="IMPORT-13"):
        import_bundle(signature.read_bytes(), "model.sig", trust=trust, folder=folder)
    other = Key(ec.generate_private_key(ec.SECP256R1()).public_key())
    with pytest.raises(ArtifactError, match="IMPORT-09"):
        import_bundle(signature.read_bytes(), "model.sig", trust=Trust(keys=[other]))


SIGN = """
import sys
from importlib.util import find_spec
from pathlib import Path
from model_signing import hashing, signing
folder, key, signature, method, name = sys.argv[1:]
config = hashing.Config()
if method == "files":
    config.use_file_serialization(hashing_algorithm=name)
else:
    config.use_shard_serialization(hashing_algorithm=name, shard_size=100)
signer = signing.Config().use_elliptic_key_signer(private_key=Path(key))
signer.set_hashing_config(config).sign(Path(folder), Path(signature))
"""


@pytest.mark.parametrize(("method", "name"), [("files", "blake2"), ("files", "blake3"), ("shards", "sha256")])
def test_its_other_serializations_are_accepted_by_us(oracle: Path, tmp_path: Path, method: str, name: str) -> None:
    """More than ten shards of a file: it orders them by number, the specification by text."""
    key = ec.generate_private_key(ec.SECP256R1())
    folder, private = make_folder(tmp_path / "model"), write_private(key, tmp_path / "key")
    done = subprocess.run(
        [str(oracle), "-c", SIGN, str(folder), str(private), str(tmp_path / "model.sig"), method, name],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    trust = Trust(keys=[Key(key.public_key())])
    imported = import_bundle((tmp_path / "model.sig").read_bytes(), "model.sig", trust=trust, folder=folder)
    assert imported.checked is Checked.REHASHED


VERIFY = """
import sys
from importlib.util import find_spec
from pathlib import Path
from model_signing import verifying
folder, key, signature = map(Path, sys.argv[1:])
verifying.Config().use_elliptic_key_verifier(public_key=key).verify(folder, signature)
"""


def test_our_blake3_is_accepted_by_its_library(oracle: Path, tmp_path: Path) -> None:
    """Its command hashes with SHA-256 whatever the manifest says; its library reads what the manifest says."""
    key = ec.generate_private_key(ec.SECP256R1())
    folder, public = make_folder(tmp_path / "model"), write_public(key, tmp_path / "key.pub")
    (tmp_path / "model.sig").write_bytes(sign_folder(folder, key, serialization=Serialization(hash_type="blake3")))
    command = [str(oracle), "-c", VERIFY, str(folder), str(public), str(tmp_path / "model.sig")]
    assert subprocess.run(command, capture_output=True, timeout=120, check=False).returncode == 0
    (folder / "config.json").write_text("{ }")
    assert subprocess.run(command, capture_output=True, timeout=120, check=False).returncode != 0


def test_certificates_are_accepted_both_ways(oracle: Path, tmp_path: Path) -> None:
    key, authority = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = make_certificate("root", authority, ("root", authority), ca=True)
    leaf = make_certificate("lab", key, ("root", authority))
    folder = make_folder(tmp_path / "model")

    def write(name: str, certificate: x509.Certificate) -> Path:
        (tmp_path / name).write_bytes(certificate.public_bytes(Encoding.PEM))
        return tmp_path / name

    chain = write("root.pem", root)
    ours, theirs = tmp_path / "ours.sig", tmp_path / "theirs.sig"
    ours.write_bytes(sign_folder(folder, key, certificates=[leaf.public_bytes(Encoding.DER)]))
    done = run(oracle, "verify", "certificate", folder, "--signature", ours, "--certificate_chain", chain)
    assert done.returncode == 0, done.stderr
    done = run(
        oracle, "sign", "certificate", folder, "--signature", theirs,
        "--private_key", write_private(key, tmp_path / "key"),
        "--signing_certificate", write("leaf.pem", leaf), "--certificate_chain", chain,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    imported = import_bundle(theirs.read_bytes(), "theirs.sig", trust=Trust(roots=[root]), folder=folder)
    assert imported.checked is Checked.REHASHED
    assert imported.identities == ("lab@example.org",)


# --- the specification's own schemas and vectors ---------------------------------------------------


@pytest.fixture(scope="session")
def specification() -> Path:
    """A checkout of ossf/model-signing-spec."""
    given = os.environ.get("GLASSLOG_OMS_SPEC")
    if given is None:
        pytest.skip("GLASSLOG_OMS_SPEC names no checkout of ossf/model-signing-spec: its schemas and vectors")
    return Path(given)


def test_our_bundles_keep_the_specification_s_schemas(specification: Path, tmp_path: Path) -> None:
    referencing = pytest.importorskip("referencing", reason="jsonschema judges the schemas")
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema judges the schemas")
    names = ("bundle", "envelope", "statement", "predicate")
    folder = specification / "schemas" / "v1.0"
    schemas = {name: json.loads((folder / f"{name}.schema.json").read_text()) for name in names}
    resources = [(one["$id"], referencing.Resource.from_contents(one)) for one in schemas.values()]
    registry = referencing.Registry().with_resources(resources)

    def faults(name: str, value: Any) -> list[str]:
        validator = jsonschema.Draft202012Validator(schemas[name], registry=registry)
        return [error.message for error in validator.iter_errors(value)]

    key, model = ec.generate_private_key(ec.SECP256R1()), make_folder(tmp_path / "model")
    leaf = make_certificate("lab", key, ("lab", key)).public_bytes(Encoding.DER)
    ways = [Serialization(), Serialization(hash_type="blake3"), Serialization(method="shards", shard_size=999)]
    for way in ways:
        for certificates in ([], [leaf]):
            bundle = json.loads(sign_folder(model, key, serialization=way, certificates=certificates))
            statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
            assert faults("bundle", bundle) == []
            assert faults("envelope", bundle["dsseEnvelope"]) == []
            assert faults("statement", statement) == []
            assert faults("predicate", statement["predicate"]) == []
            assert faults("statement", {**statement, "extra": 1})


def test_specification_s_vectors_are_judged_as_it_says(specification: Path) -> None:
    found = {path: path.parent.name for path in (specification / "test-vectors" / "v1.0").glob("*/*.json")}
    assert set(found.values()) == {"valid", "invalid", "invalid-payload"}
    for path, kind in found.items():
        if kind == "valid":
            assert import_bundle(path.read_bytes(), path.name).models[0].files
            continue
        with pytest.raises(ArtifactError, match="IMPORT-"):
            import_bundle(path.read_bytes(), path.name)
