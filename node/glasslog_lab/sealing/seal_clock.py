"""One sealed entry per period, run or no run, so that a lab's cadence shows nothing (specs/secrecy.md, X10).

``next_move`` is a pure function of the time and two numbers; ``tick`` carries it out: queue -> one item -> outbox ->
node. What was put into the outbox is sent again, under the same key, until it is taken, and nothing else is sent
meanwhile: after a downtime there is one item, never several.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import cast

from glasslog.bundle.sealed import decode_item
from glasslog.errors import DecodeError
from glasslog_lab.errors import ArtifactError
from glasslog_lab.sealing import private_files
from glasslog_lab.sealing.vault import Vault, name_item

PERIOD_SECONDS = 3_600
_STATE_BYTES_MAX = 4_096
Send = Callable[[bytes, str], None]
"""Hands a body of sealed items to the node under an idempotency key; returns once it is durably taken."""


class Move(Enum):
    """What a tick does."""

    REST = "this period has its entry"
    RESEND = "send again what was not acknowledged"
    SEAL = "seal the period's entry and send it"


@dataclass(frozen=True, slots=True)
class ClockState:
    """``period`` of the last entry that was taken, from 0 at 1970; ``waiting``: the ID in the outbox."""

    period: int
    waiting: str | None


def next_move(now: int, period_seconds: int, state: ClockState) -> tuple[Move, int]:
    """Return what to do at ``now`` (seconds), and in which period; a clock set back makes it rest."""
    period = now // period_seconds
    if period <= state.period:
        return Move.REST, period
    return (Move.SEAL if state.waiting is None else Move.RESEND), period


def queue_item(vault: Vault, item: bytes) -> None:
    """Put a sealed item, which the vault keeps already, among those of the next period.

    Raises:
        ArtifactError: SEAL-24.
    """
    private_files.make_folder(vault.path / "queue")
    private_files.write(vault.path / "queue" / name_item(item), item)


def tick(vault: Vault, now: int, send: Send, *, period_seconds: int = PERIOD_SECONDS) -> Move:
    """Do what is due at ``now`` (seconds since 1970). To be called at least once a period, by a timer.

    Raises:
        ArtifactError: SEAL-28, the clock's state or queue is damaged; SEAL-24; whatever ``send`` raises, and then the
            next tick sends the same again.
    """
    state = _read_state(vault)
    move, period = next_move(now, period_seconds, state)
    if move is Move.REST:
        return move
    if move is Move.SEAL:
        items = _queued(vault)
        name, _ = vault.keep_period(items)
        _write_state(vault, ClockState(state.period, name))
        for item in items:
            private_files.destroy(vault.path / "queue" / name_item(item))
    else:
        name = state.waiting or ""
        for item in vault.read(name).members:  # a crash may have come before they left the queue
            private_files.destroy(vault.path / "queue" / name_item(item))
    send(vault.read(name).content.item, f"period-{name}")
    _write_state(vault, ClockState(period, None))
    return move


def _queued(vault: Vault) -> list[bytes]:
    private_files.make_folder(vault.path / "queue")
    items: list[bytes] = []
    for path in sorted((vault.path / "queue").iterdir()):
        if path.name.startswith("."):
            continue
        item = private_files.read(path, 128) or b""
        try:
            decode_item(item)
        except DecodeError as error:
            raise ArtifactError("SEAL-28", f"{path} is no sealed item", "take it out of the queue") from error
        items.append(item)
    return items


def _read_state(vault: Vault) -> ClockState:
    data = private_files.read(vault.path / "clock.json", _STATE_BYTES_MAX)
    if data is None:
        return ClockState(-1, None)
    try:
        value: object = json.loads(data)
        members = cast("dict[str, object]", value) if isinstance(value, dict) else {}
        period, waiting = members.get("period"), members.get("waiting")
    except (ValueError, RecursionError):
        period = waiting = None
    if type(period) is not int or not (waiting is None or isinstance(waiting, str)):
        step = "wait out the period, then delete it: two entries in one period would show"
        raise ArtifactError("SEAL-28", f"{vault.path}/clock.json is damaged", step)
    return ClockState(period, waiting)


def _write_state(vault: Vault, state: ClockState) -> None:
    text = json.dumps({"period": state.period, "waiting": state.waiting})
    private_files.write(vault.path / "clock.json", text.encode(), replace=True)
