"""Whom to ask for a block that is missing, and when to ask the next one (specs/agreement.md, A9)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from glasslog.agreement.config import Timing
from glasslog.agreement.messages import BlockRequest


@dataclass(slots=True)
class _Want:
    request: BlockRequest
    sources: tuple[str, ...]
    ask_at: int
    flow: int  # ms after a block of the author came in which this one is taken to follow
    latest: int  # asked by then at the latest, whatever else comes from the author
    asked: int = 0


class Fetcher:
    """The requests outstanding, each retried at the next source until nobody wants its block any more."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._wants: dict[tuple[str, bytes], _Want] = {}
        self._fresh: set[tuple[str, bytes]] = set()
        self._named: set[str] = set()
        self._arrived: dict[str, tuple[int, int]] = {}  # by author: the latest block's number, and when it came

    def begin(self) -> None:
        """Start a new round of wants: what is not wanted again before ``due`` is given up."""
        self._fresh.clear()
        self._named.clear()

    def want(self, request: BlockRequest, sources: Sequence[str], now: int, *, grace: int, named: bool) -> None:
        """Want these blocks; the first source is asked after *grace* ms, for they may be on their way already."""
        key = (request.author, request.last_hash)
        self._fresh.add(key)
        if named:
            self._named.add(request.author)
        known = self._wants.get(key)
        if known is None:
            timing = self._timing
            flow, patience = (timing.flow, timing.fetch) if named else (timing.have_flow, timing.have_patience)
            self._wants[key] = _Want(request, tuple(sources), now + grace, flow, now + patience)
            return
        known.request, known.sources = request, tuple(sources)
        if named and known.flow != self._timing.flow:
            known.flow, known.latest = self._timing.flow, min(known.latest, now + self._timing.fetch)
        if not known.asked:
            known.ask_at = min(known.ask_at, now + grace)

    def is_named(self, author: str) -> bool:
        """Say whether a proposal or certificate waits for blocks of this author: then no fork limit applies."""
        return author in self._named

    def arrived(self, author: str, seq: int, now: int) -> None:
        """A block of this author came: what follows it is probably behind it, so do not ask elsewhere yet.

        Bodies are large: under load, asking for one that is on its way already costs more than waiting for it. But an
        author's newest blocks come all the time: they say nothing of older ones, which a lagging replica needs.
        """
        self._arrived[author] = seq, now
        for (name, _), want in self._wants.items():
            if name == author and want.asked and want.request.first_seq <= seq <= want.request.last_seq:
                want.ask_at = now + self._timing.fetch_retry

    def due(self, now: int, connected: Iterable[str]) -> tuple[list[tuple[str, BlockRequest]], int | None]:
        """Return the requests to send now, and when to look again."""
        reachable = set(connected)
        self._wants = {key: want for key, want in self._wants.items() if key in self._fresh}
        requests: list[tuple[str, BlockRequest]] = []
        for want in self._wants.values():
            sources = [source for source in want.sources if source in reachable]
            if not want.asked:
                seq, at = self._arrived.get(want.request.author, (want.request.first_seq, 0))
                if seq < want.request.first_seq:
                    want.ask_at = max(want.ask_at, min(at + want.flow, want.latest))
            if now >= want.ask_at and sources:
                requests.append((sources[want.asked % len(sources)], want.request))
                want.asked += 1
                want.ask_at = now + self._timing.fetch_retry
        waiting = [want.ask_at for want in self._wants.values() if want.ask_at > now]
        return requests, min(waiting, default=None)
