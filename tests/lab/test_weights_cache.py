"""The cache spares what has not changed and never says anything of what has (K9)."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import cbor2
import pytest
from blake3 import blake3
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from glasslog_lab.weights import cache as cache_module
from glasslog_lab.weights.cache import MAGIC, Cache, find_cache_folder
from glasslog_lab.weights.measuring import ModelMeasured, measure
from glasslog_lab.weights.statement import make_model
from weights_files import Given, make_npy, make_onnx, make_safetensors, onnx_external

SIZE = 300 << 10
LONG_AGO_NS = 10**18


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model that was written long ago: change times cannot be set, so a settled one is one of any age."""
    monkeypatch.setattr(cache_module, "SETTLED_NS", 0)
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "m.safetensors").write_bytes(make_safetensors({"w": Given("U8", (SIZE,), bytes(SIZE))}, {"a": "b"}))
    (folder / "small").write_bytes(b"1")
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def find_record(cache: Cache) -> Path:
    [record] = cache.folder.iterdir()
    return record


def look(model: Path, cache: Cache) -> ModelMeasured:
    """What is found with the cache, which must be what is found without."""
    with_cache, without = measure(model, cache=cache), measure(model)
    assert with_cache.content_root == without.content_root
    assert [file.digest for file in with_cache.files] == [file.digest for file in without.files]
    assert (with_cache.format, with_cache.metadata) == (without.format, without.metadata)
    return with_cache


def test_unchanged_file_is_not_read_again_and_that_is_said(model: Path, cache: Cache) -> None:
    assert make_model(look(model, cache)).digests_reused is None
    (model / "small").write_bytes(b"2")
    counts = list[int]()
    assert measure(model, cache=cache, on_read=counts.append).reused == 1
    assert sum(counts) == sum(path.stat().st_size for path in model.iterdir())
    assert make_model(look(model, cache)).digests_reused is True
    assert cache.folder.stat().st_mode & 0o777 == 0o700
    assert find_record(cache).stat().st_mode & 0o777 == 0o600


def test_file_just_written_is_not_recorded(model: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "SETTLED_NS", 10**15)
    look(model, cache)
    assert not cache.folder.exists()


def test_file_of_the_future_is_not_recorded(model: Path, cache: Cache) -> None:
    far = 4 * LONG_AGO_NS
    os.utime(model / "m.safetensors", ns=(far, far))
    look(model, cache)
    assert not cache.folder.exists()


@pytest.mark.parametrize("keep_times", [True, False])
def test_changed_file_is_read_even_with_its_old_time_and_size(model: Path, cache: Cache, *, keep_times: bool) -> None:
    path = model / "m.safetensors"
    look(model, cache)
    before = path.stat()
    with path.open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(b"x")
    if keep_times:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert look(model, cache).reused == 0


def test_same_bytes_under_another_name_are_read(model: Path, cache: Cache) -> None:
    look(model, cache)
    (model / "m.safetensors").rename(model / "n.safetensors")
    assert look(model, cache).reused == 0


def test_same_file_seen_from_above_has_another_name(model: Path, cache: Cache) -> None:
    (model / "m.safetensors").unlink()
    (model / "sub").mkdir()
    (model / "sub" / "w.npy").write_bytes(make_npy(Given("U8", (SIZE,), bytes(SIZE))))
    assert [one.name for one in look(model / "sub", cache).tensors] == ["w"]
    assert [one.name for one in look(model, cache).tensors] == ["sub/w"]


@pytest.mark.parametrize("at", [0, len(MAGIC) - 2, len(MAGIC) + 5, len(MAGIC) + 40, -1])
def test_corrupt_record_is_passed_over(model: Path, cache: Cache, at: int) -> None:
    look(model, cache)
    data = bytearray(find_record(cache).read_bytes())
    data[at] ^= 1
    find_record(cache).write_bytes(bytes(data))
    assert look(model, cache).reused == 0
    assert look(model, cache).reused == 1


@pytest.mark.parametrize("length", [0, 5, len(MAGIC), len(MAGIC) + 31, len(MAGIC) + 32, 200])
def test_torn_record_is_passed_over(model: Path, cache: Cache, length: int) -> None:
    look(model, cache)
    os.truncate(find_record(cache), length)
    assert look(model, cache).reused == 0


@pytest.mark.parametrize(
    "body", [b"", b"\xff", cbor2.dumps([]), cbor2.dumps({}), cbor2.dumps({"name": "m.safetensors"})]
)
def test_record_of_another_making_is_passed_over(model: Path, cache: Cache, body: bytes) -> None:
    look(model, cache)
    find_record(cache).write_bytes(MAGIC + blake3(body).digest() + body)
    assert look(model, cache).reused == 0


def test_record_of_another_file_is_passed_over(model: Path, cache: Cache) -> None:
    look(model, cache)
    record = find_record(cache)
    data = bytes(SIZE - 1) + b"x"
    (model / "m.safetensors").write_bytes(make_safetensors({"w": Given("U8", (SIZE,), data)}, {"a": "b"}))
    kept = record.read_bytes()
    look(model, cache)
    find_record(cache).write_bytes(kept)
    assert look(model, cache).reused == 0


def test_record_that_others_can_write_is_passed_over(model: Path, cache: Cache) -> None:
    look(model, cache)
    find_record(cache).chmod(0o622)
    assert measure(model, cache=cache).reused == 0
    find_record(cache).chmod(0o600)
    cache.folder.chmod(0o770)
    assert measure(model, cache=cache).reused == 0
    cache.folder.chmod(0o700)
    assert measure(model, cache=cache).reused == 1


def test_record_that_is_a_link_is_passed_over(model: Path, cache: Cache, tmp_path: Path) -> None:
    look(model, cache)
    record = find_record(cache)
    shutil.move(record, tmp_path / "elsewhere")
    record.symlink_to(tmp_path / "elsewhere")
    assert measure(model, cache=cache).reused == 0


def test_less_than_was_asked_for_is_not_enough(model: Path, cache: Cache) -> None:
    measure(model, cache=cache, digests={"blake3"})
    assert look(model, cache).reused == 0
    only = measure(model, cache=cache, digests={"tensors"})
    assert (only.reused, only.files[0].digest) == (1, {})
    none = measure(model, cache=cache, digests={"sha256"})
    assert (none.reused, none.tensors, none.files[0].blake3) == (1, (), None)


def test_data_beside_is_part_of_what_must_not_change(
    tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "SETTLED_NS", 0)
    monkeypatch.setattr(cache_module, "KEPT_BYTES_MIN", 0)
    folder = tmp_path / "model"
    folder.mkdir()
    one = Given("U8", (4,), b"1234")
    (folder / "m.onnx").write_bytes(make_onnx([onnx_external("w", one, "w.data", 0)]))
    (folder / "w.data").write_bytes(one.data)
    look(folder, cache)
    assert look(folder, cache).reused == 2
    (folder / "w.data").write_bytes(b"1235")
    assert look(folder, cache).reused == 0


def test_cache_that_cannot_be_written_is_no_error(model: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    assert look(model, Cache(tmp_path / "cache")).reused == 0


def test_old_records_go(model: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "RECORDS_MAX", 8)
    cache.folder.mkdir(mode=0o700)
    for number in range(9):
        path = cache.folder / f"{number}.digests"
        path.touch()
        os.utime(path, ns=(number, number))
    look(model, cache)
    assert sorted(path.name for path in cache.folder.iterdir())[:2] != ["0.digests", "1.digests"]
    assert look(model, cache).reused == 1


def test_folder_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert find_cache_folder() == Path("/x/glasslog/weights")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert find_cache_folder().is_relative_to(Path.home())


class CacheMachine(RuleBasedStateMachine):
    """Whatever is done to files and records, what is found with the cache is what is found without.

    Every step is further than a tick of the file system's clock from the one before, which stands for the two seconds
    of settling: within one tick two contents can have the same times.
    """

    @initialize()
    def begin(self) -> None:
        self.kept = cache_module.SETTLED_NS
        cache_module.SETTLED_NS = 0
        self.folder = Path(os.environ["GLASSLOG_TEST_FOLDER"]) / os.urandom(8).hex()
        self.model = self.folder / "model"
        self.model.mkdir(parents=True)
        self.cache = Cache(self.folder / "cache")

    @rule(name=st.sampled_from("ab"), value=st.integers(0, 2))
    def write(self, name: str, value: int) -> None:
        self._wait()
        tensor = Given("U8", (SIZE,), bytes([value]) * SIZE)
        (self.model / f"{name}.safetensors").write_bytes(make_safetensors({"w": tensor}))

    @rule(name=st.sampled_from("ab"), other=st.sampled_from("ab"))
    def rename(self, name: str, other: str) -> None:
        if (path := self.model / f"{name}.safetensors").exists():
            path.rename(self.model / f"{other}.safetensors")

    @rule(name=st.sampled_from("ab"))
    def set_time(self, name: str) -> None:
        if (path := self.model / f"{name}.safetensors").exists():
            os.utime(path, ns=(LONG_AGO_NS, LONG_AGO_NS))

    @rule(choice=st.integers(0, 9), at=st.integers(0, 200))
    def damage(self, choice: int, at: int) -> None:
        records = sorted(self.cache.folder.glob("*")) if self.cache.folder.exists() else []
        if records:
            record = records[choice % len(records)]
            data = bytearray(record.read_bytes())
            data[at % len(data)] ^= 1
            record.write_bytes(bytes(data))

    @rule()
    def exchange(self) -> None:
        records = sorted(self.cache.folder.glob("*")) if self.cache.folder.exists() else []
        if len(records) > 1:
            first, second = records[0].read_bytes(), records[1].read_bytes()
            records[0].write_bytes(second)
            records[1].write_bytes(first)

    @invariant()
    def agrees(self) -> None:
        if any(self.model.iterdir()):
            self._wait()
            found = measure(self.model, cache=self.cache, digests={"blake3"})
            assert [one.digest for one in found.files] == [
                one.digest for one in measure(self.model, digests={"blake3"}).files
            ]

    def teardown(self) -> None:
        cache_module.SETTLED_NS = self.kept
        shutil.rmtree(self.folder)

    def _wait(self) -> None:
        """Until the file system's clock has gone on: by asking it."""
        probe = self.folder / "probe"
        probe.touch()
        start = probe.stat().st_mtime_ns
        while probe.stat().st_mtime_ns == start:
            os.utime(probe)


def test_cache_never_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLASSLOG_TEST_FOLDER", str(tmp_path))
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(CacheMachine, settings=settings(max_examples=25, stateful_step_count=12, deadline=None))
