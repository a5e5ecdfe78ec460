"""How fast weights are digested, in pairs: ``python -m glasslog_lab.weights.bench [PATH] [--gib N]`` prints JSON.

Each round runs the yardsticks and the work one after the other on the same files, so that a busy machine slows both;
on one where other work waits for the cores, two threads gain little over one, and processor seconds say more. Ratios
are given for each kind of work as the least and the median over the rounds. Without a path a sharded model is
made in a temporary folder, of random bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from blake3 import blake3

from glasslog_lab.weights.cache import SETTLED_NS, Cache
from glasslog_lab.weights.files import list_files
from glasslog_lab.weights.measuring import measure

_SHARDS = 8
_TENSOR_BYTES = 16 << 20
_COMMAND = [sys.executable, "-m", "glasslog_lab", "attest", "model"]


def make_model(folder: Path, size: int) -> None:
    """Write a model of about ``size`` bytes in eight safetensors shards with an index, and a small configuration."""
    block = os.urandom(_TENSOR_BYTES)
    places = dict[str, str]()
    for shard in range(_SHARDS):
        name = f"model-{shard + 1:05}-of-{_SHARDS:05}.safetensors"
        count = max(1, size // _SHARDS // _TENSOR_BYTES)
        header = {
            f"layers.{shard}.{number}.weight": {
                "dtype": "BF16",
                "shape": [_TENSOR_BYTES >> 13, 1 << 12],
                "data_offsets": [number * _TENSOR_BYTES, (number + 1) * _TENSOR_BYTES],
            }
            for number in range(count)
        }
        places |= dict.fromkeys(header, name)
        text = json.dumps(header).encode()
        with (folder / name).open("wb") as stream:
            stream.write(len(text).to_bytes(8, "little") + text)
            for _ in range(count):
                stream.write(block)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    (folder / "config.json").write_text("{}")


def main() -> None:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(description="How fast weights are digested, beside raw hashing of the same files.")
    parser.add_argument("path", nargs="?", type=Path, help="a model; without one, one is made")
    parser.add_argument("--gib", type=float, default=2.0, help="how large a model to make")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model-signing", type=Path, help="the model_signing command, to sign the same folder with")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="glasslog-bench-") as folder:
        place = Path(folder) / "model"
        if options.path is None:
            place.mkdir()
            make_model(place, int(options.gib * (1 << 30)))
        elif options.path.is_dir():
            shutil.copytree(options.path, place)
        else:
            place.mkdir()
            shutil.copy(options.path, place)
        (place / "README.md").write_text("# A model\n")
        found = run(place, Path(folder), options.rounds, options.model_signing)
    sys.stdout.write(json.dumps(found, indent=2) + "\n")


def run(model: Path, scratch: Path, rounds: int, signer: Path | None) -> dict[str, Any]:
    """Return sizes, seconds and ratios for a model in a folder of ours, whose small file is changed on the way."""
    files = list(list_files(model).values())
    size = sum(path.stat().st_size for path in files)
    threads = os.cpu_count() or 1
    work: dict[str, Callable[[], object]] = {
        "sha256 raw": lambda: _hash_sha256(files),
        "blake3 raw": lambda: _hash_blake3(files, threads),
        "blake3 raw, 1 thread": lambda: _hash_blake3(files, 1),
        "all digests": lambda: measure(model),
        "all digests, 1 thread": lambda: measure(model, threads=1),
        "blake3": lambda: measure(model, digests={"blake3"}),
        "blake3, 1 thread": lambda: measure(model, digests={"blake3"}, threads=1),
        "tensors": lambda: measure(model, digests={"tensors"}),
        "blake3 and tensors": lambda: measure(model, digests={"blake3", "tensors"}),
        "command start": lambda: _run([*_COMMAND, "--help"]),
        "command": lambda: _attest(model),
        "command, blake3 and tensors": lambda: _attest(model, "--digest", "blake3", "--digest", "tensors"),
        "command, blake3": lambda: _attest(model, "--digest", "blake3"),
    }
    if signer is not None:
        key = _make_key(scratch)
        work["model_signing start"] = lambda: _run([str(signer), "--help"])
        work["model_signing sign"] = lambda: _sign(signer, model, key, scratch / "signature")
    _hash_sha256(files)  # into the page cache
    with _watch_memory() as peak:
        measure(model)
    seconds, cpu = ({name: list[float]() for name in work} for _ in range(2))
    for _ in range(rounds):
        for name, one in work.items():
            start = _read_cpu()
            seconds[name].append(_time(one))
            cpu[name].append(_read_cpu() - start)
    pairs = [
        ("all digests", "sha256 raw"),
        ("all digests, 1 thread", "sha256 raw"),
        ("blake3", "blake3 raw"),
        ("blake3, 1 thread", "blake3 raw, 1 thread"),
        ("tensors", "blake3 raw"),
        ("blake3 and tensors", "blake3 raw"),
        ("model_signing sign", "command"),
        ("model_signing sign", "command, blake3 and tensors"),
        ("model_signing sign", "command, blake3"),
    ]
    return {
        "bytes": size,
        "files": len(files),
        "cpus": threads,
        "rounds": rounds,
        "seconds": {name: round(min(times), 4) for name, times in seconds.items()},
        "processor seconds": {name: round(min(times), 4) for name, times in cpu.items()},
        "ratios": {f"{a} / {b}": _compare(seconds[a], seconds[b]) for a, b in pairs if a in seconds and b in seconds},
        "again": _measure_again(model, scratch, rounds),
        "peak anonymous MiB": round(peak[0] / (1 << 20), 1),
    }


def _measure_again(model: Path, scratch: Path, rounds: int) -> dict[str, float]:
    """Measure with a cache twice, a small file edited between, once the files' times have settled."""
    time.sleep(SETTLED_NS / 1e9 + 0.1)
    first, second = list[float](), list[float]()
    for number in range(rounds):
        again = partial(measure, model, cache=Cache(scratch / f"cache-{number}"))
        first.append(_time(again))
        (model / "README.md").write_text(f"# A model, edited {number} times\n")
        second.append(_time(again))
    return {"first": round(min(first), 4), "second": round(min(second), 4), "ratio": _compare(second, first)["median"]}


def _time(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _read_cpu() -> float:
    """Return the processor time of this process and of the children that it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _compare(over: list[float], under: list[float]) -> dict[str, float]:
    ratios = [a / b for a, b in zip(over, under, strict=True)]
    return {
        "least": round(min(ratios), 3),
        "median": round(median(ratios), 3),
        "of the best": round(min(over) / min(under), 3),
    }


def _hash_sha256(files: list[Path]) -> None:
    for path in files:
        with path.open("rb") as stream:
            hashlib.file_digest(stream, "sha256").digest()


def _hash_blake3(files: list[Path], threads: int) -> None:
    for path in files:
        blake3(max_threads=threads).update_mmap(path).digest()


def _attest(model: Path, *options: str) -> None:
    _run([*_COMMAND, str(model), "--json", "--no-cache", *options])


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603  our own command, or the caller's


def _make_key(folder: Path) -> Path:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    pem = serialization.Encoding.PEM
    path = folder / "key.pem"
    path.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return path


def _sign(signer: Path, model: Path, key: Path, output: Path) -> None:
    command = [str(signer), "sign", "key", str(model), "--private_key", str(key), "--signature", str(output)]
    _run(command)


@contextmanager
def _watch_memory() -> Generator[list[int]]:
    """Yield a list whose only item is the most anonymous memory seen, in bytes; 0 where the system does not say."""
    peak, done = [0], threading.Event()
    status = Path("/proc/self/status")

    def look() -> None:
        while not done.wait(0.005):
            for line in status.read_text().splitlines():
                if line.startswith("RssAnon:"):
                    peak[0] = max(peak[0], int(line.split()[1]) << 10)

    watcher = threading.Thread(target=look, daemon=True)
    if status.exists():
        watcher.start()
    try:
        yield peak
    finally:
        done.set()
        if watcher.is_alive():
            watcher.join()


if __name__ == "__main__":
    main()
