"""Every wait of the network, in seconds. A test shortens them; a node keeps them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """Deadlines and pauses of the libp2p transport."""

    dial: float = 5.0  # TCP connection
    handshake: float = 10.0  # Noise, Yamux, and each stream's negotiation
    hello: float = 10.0
    write: float = 30.0  # one write, while the peer reads nothing
    ping_every: float = 2.0
    ping: float = 6.0  # a peer that has not answered by then is frozen or gone
    retry_first: float = 0.2
    retry_most: float = 5.0
    defer: float = 1.0  # how long the larger name leaves dialling to the smaller one
    gossip_restart: float = 1.0


DEFAULT_TIMING = Timing()
