"""The evidence store: originals by digest, whole or not at all, and erased where that is asked for."""

from __future__ import annotations

import errno
import os
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glasslog_lab.errors import ArtifactError
from glasslog_lab.evidence import EvidenceStore, digest_file


def hexadecimal(data: bytes) -> str:
    return sha256(data).hexdigest()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=3_000))
def test_what_is_kept_is_read_back(tmp_path: Path, data: bytes) -> None:
    store = EvidenceStore(tmp_path / "e")
    resource = store.add_bytes(data, name="an original", media_type="text/plain")
    assert (resource.name, resource.digest, resource.media_type) == (
        "an original", {"sha256": sha256(data).digest()}, "text/plain",
    )  # fmt: skip
    assert store.read(hexadecimal(data)) == data
    assert hexadecimal(data) in store.verify().whole


def test_an_original_has_no_name_in_the_folder_and_is_its_owners_alone(tmp_path: Path) -> None:
    (tmp_path / "secret name.txt").write_bytes(b"x")
    store = EvidenceStore(tmp_path / "e")
    store.add(tmp_path / "secret name.txt")
    store.add(tmp_path / "secret name.txt", name="again")
    (path,) = (one for one in (tmp_path / "e").rglob("*") if one.is_file())
    assert path.relative_to(tmp_path / "e").parts == (hexadecimal(b"x")[:2], hexadecimal(b"x"))
    assert path.stat().st_mode & 0o777 == 0o600


def test_damage_foreign_files_and_links_are_told_apart(tmp_path: Path) -> None:
    store = EvidenceStore(tmp_path)
    for data in (b"whole", b"damaged"):
        store.add_bytes(data, name="x")
    damaged = hexadecimal(b"damaged")
    (tmp_path / damaged[:2] / damaged).write_bytes(b"other")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "00").mkdir(exist_ok=True)
    (tmp_path / "00" / ("00" * 32)).symlink_to("/etc/passwd")
    found = store.verify()
    assert (found.whole, found.damaged) == ((hexadecimal(b"whole"),), (damaged,))
    assert set(found.foreign) == {"notes.txt", "00/" + "00" * 32}
    with pytest.raises(ArtifactError, match=r"^EVID-04 .* is damaged"):
        store.read(damaged)


def test_erased_is_gone_and_what_a_link_leads_to_is_not_touched(tmp_path: Path) -> None:
    store = EvidenceStore(tmp_path / "e")
    digest = hexadecimal(b"x")
    store.add_bytes(b"x", name="x")
    assert store.erase(digest)
    assert not store.erase(digest)
    with pytest.raises(ArtifactError, match=r"^EVID-03 "):
        store.read(digest)
    (tmp_path / "other").write_bytes(b"kept")
    place = tmp_path / "e" / "00" / ("00" * 32)
    place.parent.mkdir()
    place.symlink_to(tmp_path / "other")
    with pytest.raises(ArtifactError, match=r"^EVID-02 "):
        store.erase("00" * 32)
    assert (tmp_path / "other").read_bytes() == b"kept"


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "0" * 63, "G" * 64, "AB" * 32, "00" * 33])
def test_what_is_no_digest_leads_nowhere(tmp_path: Path, digest: str) -> None:
    store = EvidenceStore(tmp_path)
    for ask in (store.read, store.erase):
        with pytest.raises(ArtifactError, match=r"^EVID-03 .* is no SHA-256"):
            ask(digest)


def test_what_cannot_be_kept_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    store = EvidenceStore(tmp_path / "e", bytes_max=1_000)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(bytes(1_001))
    for name in ("absent", "pipe", "large", "."):
        with pytest.raises(ArtifactError, match=r"^EVID-01 ") as caught:
            store.add(tmp_path / name)
        assert "\n" not in str(caught.value)
    for name in ("", "a\nb", "x" * 256):
        with pytest.raises(ArtifactError, match=r"^EVID-05 "):
            store.add_bytes(b"x", name=name)
    with pytest.raises(ArtifactError, match=r"^EVID-01 "):
        digest_file(tmp_path / "pipe")
    assert [one for one in (tmp_path / "e").rglob("*") if one.is_file()] == []


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = EvidenceStore(tmp_path / "e")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArtifactError, match=r"^EVID-02 .* cannot be written: no space left on device"):
        store.add_bytes(b"x", name="x")
    assert [one for one in (tmp_path / "e").rglob("*") if one.is_file()] == []
