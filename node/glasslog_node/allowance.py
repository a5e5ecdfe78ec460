"""What one member may cost this node: an allowance per authenticated peer, spent by its messages (specs/wire.md, W7).

A unit is about 50 microseconds of one core, for the message and for what its answer takes. The sums are rough and
generous: an honest member, also one of forty, stays far below them; a flooding one gets about a seventh of a core.
What goes beyond is dropped before it is read. Nothing rests on one message: questions are asked again, and what
agreement needs is said again (A7, A9, A18).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from glasslog.agreement.effects import Effect, Send
from glasslog.agreement.messages import BlockRequest, RunRequest
from glasslog.limits import REQUEST_BLOCKS_MAX

UNITS_PER_SECOND = 3_000
BURST_UNITS = 30_000

# By type of message (specs/wire.md): units for it as such, and bytes of it for one unit more. A certificate is checked
# by the signature, a request for certificates answered by the view, a body hashed by the entry.
_COSTS: dict[int, tuple[int, int]] = {
    1: (4, 1_024),
    2: (2, 1_024),
    3: (2, 66),
    4: (4, 1_024),
    5: (4, 16_384),
    6: (REQUEST_BLOCKS_MAX, 1_024),
    7: (4, 1),
    8: (200, 1_024),
    9: (4, 66),
    10: (6, 1_024),
    11: (10, 1_024),
    12: (20, 1_024),
    13: (4, 66),
    14: (4, 66),
    15: (2, 66),
}
_UNKNOWN = (20, 1_024)
_ANSWERS = (5, 9)  # block bodies and runs, which come because they were asked for
ASKED_MAX = 1_024  # answers of one peer that may be outstanding and free: sixteen requests for blocks
_ARRAY = 4  # CBOR's major type


def cost_of(data: bytes) -> int:
    """Return the units that a message of these bytes takes, by its type and length alone."""
    base, step = _COSTS.get(_type_of(data), _UNKNOWN)
    return base + len(data) // step


def _type_of(data: bytes) -> int:
    return data[1] if len(data) > 1 and data[0] >> 5 == _ARRAY else 0


@dataclass(slots=True)
class _Account:
    units: float = BURST_UNITS
    at: float = 0.0
    asked: int = 0  # answers that this node waits for, which cost the peer nothing
    dropped: int = 0


@dataclass(slots=True)
class Allowances:
    """Every peer's token bucket. Times are seconds of any clock that never goes back, the same one in every call."""

    _accounts: dict[str, _Account] = field(default_factory=dict[str, _Account])

    def take(self, peer: str, data: bytes, now: float) -> bool:
        """Spend what a message costs; return False, and spend nothing, where the peer has not enough left."""
        account = self._accounts.setdefault(peer, _Account(at=now))
        account.units = min(BURST_UNITS, account.units + (now - account.at) * UNITS_PER_SECOND)
        account.at = now
        if account.asked and _type_of(data) in _ANSWERS:
            account.asked -= 1
            return True
        cost = cost_of(data)
        if cost > account.units:
            account.dropped += 1
            return False
        account.units -= cost
        return True

    def note_asked(self, effect: Effect) -> None:
        """Count what this node asks for, so that its answer is never dropped."""
        if not isinstance(effect, Send):
            return
        request = effect.message
        account = self._account(effect.peer)
        if isinstance(request, RunRequest):
            account.asked += 1
        elif isinstance(request, BlockRequest):
            account.asked += request.last_seq - request.first_seq + 1
        account.asked = min(account.asked, ASKED_MAX)  # or whoever never answers saves up a right to flood

    def forget_asked(self, peer: str) -> None:
        """The connection ended, and with it the answers; what was spent stays spent."""
        self._account(peer).asked = 0

    def take_dropped(self) -> dict[str, int]:
        """Return how many messages each peer lost since this was last asked."""
        dropped = {peer: account.dropped for peer, account in self._accounts.items() if account.dropped}
        for peer in dropped:
            self._accounts[peer].dropped = 0
        return dropped

    def _account(self, peer: str) -> _Account:
        return self._accounts.setdefault(peer, _Account())
