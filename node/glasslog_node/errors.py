"""Operating faults: a person or a machine, not a peer and not a bug. Each is a code, a fact and what to do next."""

from __future__ import annotations


class OperatingError(Exception):
    """Something in this installation is wrong; ``next_step`` is the command or action that mends it."""

    def __init__(self, code: str, fact: str, next_step: str) -> None:
        super().__init__(f"{code} {fact}. Next: {next_step}")
        self.code = code
        self.fact = fact
        self.next_step = next_step


class ConfigError(OperatingError):
    """The configuration, a key file or the genesis is missing, unreadable or contradicts itself."""


class StoreError(OperatingError):
    """The store cannot be opened, read or made durable."""


class NetworkError(OperatingError):
    """The network cannot be had as configured."""


class RequestError(OperatingError):
    """A client of this node asked for something it cannot have. ``status`` is the HTTP status."""

    def __init__(self, code: str, fact: str, next_step: str, *, status: int) -> None:
        super().__init__(code, fact, next_step)
        self.status = status
