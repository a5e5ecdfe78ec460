"""The secured connection: libp2p's Noise handshake behind the member list, then our own fast path.

The library proves who the peer is (Noise XX, an Ed25519 identity signs the X25519 key; libp2p/specs, noise/README.md).
After that its session would cost two reads and several copies per message, so the two cipher states are taken over
and driven here: one read serves many messages. Nothing on the wire differs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, cast

import trio
from libp2p.crypto.ed25519 import Ed25519PublicKey
from libp2p.crypto.ed25519 import create_new_key_pair as ed25519_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as x25519_key_pair
from libp2p.custom_types import TProtocol
from libp2p.io.exceptions import IncompleteReadError
from libp2p.peer.id import ID  # pyright: ignore[reportMissingTypeStubs]  # untyped subpackage
from libp2p.protocol_muxer.exceptions import MultiselectClientError, MultiselectError
from libp2p.security.exceptions import HandshakeFailure
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE_PROTOCOL
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.security.security_multistream import SecurityMultistream
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX_PROTOCOL
from libp2p.stream_muxer.yamux.yamux import Yamux

if TYPE_CHECKING:
    from libp2p.abc import IRawConnection, ISecureConn
    from libp2p.crypto.keys import KeyPair

PLAINTEXT_BYTES_MAX = 65_535 - 16
BUFFER_BYTES = 192 << 10  # per connection; at least one message of the largest size

assert BUFFER_BYTES >= 2 + 65_535


class _Cipher(Protocol):
    def encrypt_with_ad(self, ad: bytes | None, plaintext: bytes) -> bytes: ...

    def decrypt_with_ad(self, ad: bytes | None, ciphertext: memoryview) -> bytes: ...


class RefusedError(Exception):
    """The peer is not whom we want to talk to, or does not speak our protocols; the text is for people."""


def peer_id_of(public_key: bytes) -> ID:
    """The libp2p peer id of a raw Ed25519 key."""
    return ID.from_pubkey(Ed25519PublicKey.from_bytes(public_key))


def identity(seed: bytes) -> KeyPair:
    """The fixed network identity: a 32-byte Ed25519 seed."""
    return ed25519_key_pair(seed)


class GatedNoise(NoiseTransport):
    """Noise that refuses, while still shaking hands, whoever is not admitted."""

    def __init__(self, key_pair: KeyPair, admits: Callable[[ID], bool]) -> None:
        super().__init__(key_pair, noise_privkey=x25519_key_pair().private_key)
        self._admits = admits

    async def secure_inbound(self, conn: IRawConnection) -> ISecureConn:
        """As the library does, then ask whether the peer is admitted."""
        session = await super().secure_inbound(conn)
        peer = session.get_remote_peer()
        if not self._admits(peer):
            raise HandshakeFailure(f"{peer} is no member")
        return session


class Handshaker:
    """Turns a TCP stream into a secured connection with a member, ready for Yamux."""

    def __init__(self, key_pair: KeyPair, admits: Callable[[ID], bool]) -> None:
        noise = GatedNoise(key_pair, admits)
        self._security = SecurityMultistream({NOISE_PROTOCOL: noise})
        # The library would build its own Yamux; only its negotiation of the name is used.
        self._muxers = MuxerMultistream({TProtocol(YAMUX_PROTOCOL): Yamux})

    async def run(self, stream: trio.SocketStream, expected: ID | None) -> tuple[ID, NoiseWire]:
        """Shake hands as initiator with ``expected``, or as responder with any member. The caller sets a deadline.

        Raises:
            RefusedError: not a member, not the expected one, or speaks something else.
        """
        raw = _RawConnection(stream, initiator=expected is not None)
        try:
            if expected is not None:
                session = await self._security.secure_outbound(cast("IRawConnection", raw), expected)
            else:
                session = await self._security.secure_inbound(cast("IRawConnection", raw))
            peer = session.get_remote_peer()
            if expected not in {None, peer}:
                raise RefusedError(f"expected {expected}, met {peer}")  # noqa: TRY301 - one way out
            wire = NoiseWire(stream, session, initiator=expected is not None)
            await self._muxers.select_transport(cast("IRawConnection", wire))
        except RefusedError:
            raise
        except (MultiselectError, MultiselectClientError) as error:
            raise RefusedError(f"speaks no Noise or no Yamux: {error}") from error
        except HandshakeFailure as error:
            raise RefusedError(f"handshake refused: {str(error) or type(error).__name__}") from error
        except Exception as error:
            raise RefusedError(f"handshake failed: {type(error).__name__} {error}".rstrip()) from error
        return peer, wire


class _RawConnection:
    """A TCP stream as the library's handshake wants it: exact reads, nothing read ahead."""

    def __init__(self, stream: trio.SocketStream, *, initiator: bool) -> None:
        self._stream = stream
        self.is_initiator = initiator

    async def read(self, n: int | None = None) -> bytes:
        data = bytes(await self._stream.receive_some(n))
        if not data:
            raise IncompleteReadError("closed by the peer")
        return data

    async def write(self, data: bytes) -> None:
        await self._stream.send_all(data)

    async def close(self) -> None:
        await self._stream.aclose()

    def get_remote_address(self) -> tuple[str, int] | None:
        return None


class NoiseWire:
    """A byte stream under Noise: ``uint16 length || ciphertext`` messages of at most 65,535 bytes."""

    def __init__(self, stream: trio.SocketStream, session: ISecureConn, *, initiator: bool) -> None:
        self._stream = stream
        noise: Any = session
        protocol = noise.conn.noise_state.noise_protocol
        self._encrypt = cast("_Cipher", protocol.cipher_state_encrypt).encrypt_with_ad
        self._decrypt = cast("_Cipher", protocol.cipher_state_decrypt).decrypt_with_ad
        self._buffer = bytearray(BUFFER_BYTES)  # one for good: a new one per read would cost more than the read
        self._filled = 0
        self._opened = b""  # decrypted, not asked for yet: only while protocols are being negotiated
        self.is_initiator = initiator

    async def send_all(self, data: bytes) -> None:
        """Encrypt and send everything."""
        for at in range(0, len(data), PLAINTEXT_BYTES_MAX):
            whole = len(data) <= PLAINTEXT_BYTES_MAX
            sealed = self._encrypt(None, data if whole else data[at : at + PLAINTEXT_BYTES_MAX])
            await self._stream.send_all(len(sealed).to_bytes(2, "big") + sealed)

    async def receive_some(self) -> list[bytes]:
        """Return all that has arrived, decrypted, a piece per message; nothing at the end of the stream.

        Raises:
            trio.BrokenResourceError: the connection broke, or what arrived does not decrypt.
        """
        if self._opened:
            opened, self._opened = self._opened, b""
            return [opened]
        while True:
            pieces: list[bytes] = []
            view, at, filled = memoryview(self._buffer), 0, self._filled
            while filled - at >= 2:
                end = at + 2 + (view[at] << 8 | view[at + 1])
                if end > filled:
                    break
                if opened := self._open(view[at + 2 : end]):  # an empty message is legal and says nothing
                    pieces.append(opened)
                at = end
            if at:
                self._buffer[: filled - at] = self._buffer[at:filled]
                self._filled = filled - at
            if pieces:
                return pieces
            try:
                size = await self._stream.socket.recv_into(view[self._filled :])
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from error
            if size == 0:
                return []
            self._filled += size

    def _open(self, sealed: memoryview) -> bytes:
        try:
            return self._decrypt(None, sealed)
        except Exception as error:
            raise trio.BrokenResourceError("does not decrypt") from error

    async def aclose(self) -> None:
        """Close at once."""
        await self._stream.aclose()

    # --- as the library's negotiation wants it ----------------------------------------------------

    async def read(self, n: int | None = None) -> bytes:
        """At most ``n`` bytes."""
        data = b"".join(await self.receive_some())
        if not data:
            raise IncompleteReadError("closed by the peer")
        if n is not None and len(data) > n:
            data, self._opened = data[:n], data[n:] + self._opened
        return data

    async def write(self, data: bytes) -> None:
        """Send everything."""
        await self.send_all(data)
