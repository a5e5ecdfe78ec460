"""Whom a node talks to, and where they are: plain data, given by the membership and the configuration."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from glasslog_node.errors import ConfigError

PUBLIC_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A host (name or IP address) and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """A member's raw Ed25519 network key, and where to dial it; None: it dials us."""

    public_key: bytes
    endpoint: Endpoint | None = None

    def __post_init__(self) -> None:
        if len(self.public_key) != PUBLIC_KEY_BYTES:
            raise ValueError(f"network key of {len(self.public_key)} bytes, must be {PUBLIC_KEY_BYTES}")


def parse_endpoint(text: str) -> Endpoint:
    """Read ``host:port``, ``[v6]:port`` or a multiaddr such as ``/ip4/127.0.0.1/tcp/7001`` or ``/dns/a.example/tcp/1``.

    Raises:
        ConfigError: NET-03, none of these.
    """
    if text.startswith("/"):
        parts = text.split("/")
        multiaddr = len(parts) == 5 and parts[1] in {"ip4", "ip6", "dns", "dns4", "dns6"} and parts[3] == "tcp"
        host, port = (parts[2], parts[4]) if multiaddr else ("", "")
        if multiaddr and parts[1].startswith("ip") and not _is_ip(host, int(parts[1][2])):
            host = ""
    else:
        host, _, port = text.rpartition(":")
        if host.startswith("[") and host.endswith("]") and _is_ip(host[1:-1], 6):
            host = host[1:-1]
        elif any(mark in host for mark in ":/[]"):
            host = ""
    if not host or not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65_535):
        raise ConfigError("NET-03", f"{text!r} is no network address", "write host:port or /ip4/.../tcp/...")
    return Endpoint(host, int(port))


def _is_ip(text: str, version: int) -> bool:
    try:
        return ipaddress.ip_address(text).version == version
    except ValueError:
        return False
