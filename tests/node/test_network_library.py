"""What of libp2p is absent, that it is safely absent, and how announcements are coalesced."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from glasslog_node.errors import NetworkError
from glasslog_node.network import no_fastecdsa
from glasslog_node.network.batch import BATCH_BYTES_MAX, split_payloads
from node.network_rig import QUICK

LEAN_IMPORT = """
import sys
from glasslog_node.network import libp2p
assert "libp2p" not in sys.modules, "libp2p loads when it is needed, not before"
from glasslog_node.network import no_fastecdsa
no_fastecdsa.install()
no_fastecdsa.install()
from glasslog_node.network import gossip, host, noise
heavy = {"aioquic", "coincurve", "httpx", "requests", "zeroconf", "dns", "trio_websocket", "miniupnpc", "grpc"}
assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()
import fastecdsa.curve, fastecdsa.keys
from libp2p.crypto import rsa, ecc
for use in (fastecdsa.curve.P256, fastecdsa.keys.gen_keypair, rsa.RSAPublicKey.from_bytes, ecc.ECCPublicKey):
    try:
        use(b"")
    except no_fastecdsa.AbsentError as error:
        assert "deliberately absent" in str(error)
    else:
        raise SystemExit(f"{use} pretended to work")
"""


def test_lean_import_leaves_out_what_is_not_used_and_raises_where_it_is() -> None:
    done = subprocess.run([sys.executable, "-c", LEAN_IMPORT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_peer_with_another_kind_of_key_is_refused() -> None:
    from libp2p.crypto.keys import KeyType
    from libp2p.crypto.pb import crypto_pb2
    from libp2p.crypto.serialization import deserialize_public_key

    for kind in (KeyType.RSA, KeyType.Secp256k1):
        foreign = crypto_pb2.PublicKey(key_type=kind.value, data=bytes(33))
        with pytest.raises(no_fastecdsa.AbsentError):
            deserialize_public_key(foreign.SerializeToString())


@pytest.mark.parametrize("found", ["0.8.0", "0.9.0", None])
def test_other_version_of_libp2p_is_refused(monkeypatch: pytest.MonkeyPatch, found: str | None) -> None:
    def version(_: str) -> str:
        if found is None:
            raise importlib.metadata.PackageNotFoundError
        return found

    monkeypatch.setattr(importlib.metadata, "version", version)
    with pytest.raises(NetworkError, match=r"NET-02 .*0\.8\.1"):
        no_fastecdsa.check_version()


class Recorder:
    """Stands where Pubsub stands: notes when which payloads left together."""

    def __init__(self) -> None:
        self.published: list[tuple[float, list[bytes]]] = []

    async def publish(self, _topic: str, data: bytes) -> None:
        assert len(data) <= BATCH_BYTES_MAX
        self.published.append((trio.current_time(), list(split_payloads(data))))


def gossip(recorder: Recorder) -> tuple[Any, Any]:
    from glasslog_node.network.gossip import Gossip

    made: Any = Gossip(object(), {"blocks": "wire"}, admits=bool, timing=QUICK, per_second=5)  # type: ignore[arg-type]  # no host needed
    return made, lambda: made._publish("blocks", "wire", recorder)


def test_announcements_leave_at_once_when_idle_and_together_under_load() -> None:
    async def test() -> None:
        recorder = Recorder()
        made, publish = gossip(recorder)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(publish)
            for number in range(3):
                started = trio.current_time()
                made.announce("blocks", b"idle %d" % number)
                await trio.sleep(2)
                assert recorder.published[number] == (started, [b"idle %d" % number])
            recorder.published.clear()
            started = trio.current_time()
            for number in range(1000):
                made.announce("blocks", b"load %d" % number)
                await trio.sleep(0.01)
            await trio.sleep(1)
            assert [p for _, payloads in recorder.published for p in payloads] == [b"load %d" % n for n in range(1000)]
            seconds = recorder.published[-1][0] - started
            assert len(recorder.published) <= 5 * seconds + 5
            nursery.cancel_scope.cancel()

    trio.run(test, clock=MockClock(autojump_threshold=0))


def test_announcements_are_bounded_in_size_and_number() -> None:
    async def test() -> None:
        recorder = Recorder()
        made, publish = gossip(recorder)
        for number in range(6):
            made.announce("blocks", bytes([number]) * (BATCH_BYTES_MAX // 2))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(publish)
            await trio.sleep(10)
            nursery.cancel_scope.cancel()
        assert [payloads[0][:1] for _, payloads in recorder.published] == [bytes([n]) for n in range(6)]
        for wrong in (b"", bytes(BATCH_BYTES_MAX)):
            with pytest.raises(ValueError, match="payload of"):
                made.announce("blocks", wrong)
        with pytest.raises(ValueError, match="unknown topic"):
            made.announce("votes", b"x")
        for number in range(5000):
            made.announce("blocks", b"%d" % number)
        assert made.dropped == 5000 - 4096

    trio.run(test, clock=MockClock(autojump_threshold=0))
