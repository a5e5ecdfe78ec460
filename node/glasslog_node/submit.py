"""The author's pipeline: validate, spool, seal into blocks, publish until final (specs/storage.md, S10 to S12).

What is acknowledged is durable. Sealing is at once when no earlier block is open; while one is, entries gather,
so that blocks grow with the load and heights stay few. A block that is sealed is offered to the replica until it
is final: at once, again after a restart, and again whenever it takes long.
"""

from __future__ import annotations

import errno
import secrets
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import accumulate
from operator import add
from typing import Protocol

import trio

from glasslog.agreement.effects import HeldBlock
from glasslog.block import Block, build_block
from glasslog.bundle.sealed import SEALED_ITEM, seal_item
from glasslog.codec import encode_head
from glasslog.entry import TAGGED_18, LeafKind, SealedEntry, encode_leaf, entry_prefix
from glasslog.errors import ProtocolError
from glasslog.ledger import Tip
from glasslog.limits import (
    BLOCK_BYTES_MAX,
    BLOCK_ENTRIES_MAX,
    HEADER_LEAF_BYTES_MAX,
    PENDING_BLOCKS_PER_AUTHOR_MAX,
)
from glasslog.shapes import SHAPES, Shapes
from glasslog_node.batches import Batch, StatementRefusedError
from glasslog_node.errors import RequestError, StoreError
from glasslog_node.futures import durably
from glasslog_node.seams import Receipt, Run, Stage, SubmissionState
from glasslog_node.store.ledger import Location
from glasslog_node.store.spool import (
    AdoptTip,
    Pending,
    SealBlock,
    SealState,
    SpoolBatch,
    SpoolDepth,
    SpoolRecord,
    Submission,
)
from glasslog_node.store.spool import Stage as SpoolStage
from glasslog_node.telemetry import Metrics

Offer = Callable[[HeldBlock], None]
_HEADER_BYTES = 2 + HEADER_LEAF_BYTES_MAX
_SIGNED, _SEALED = bytes((TAGGED_18,)), SEALED_ITEM[:1]


class AuthorStore(Protocol):
    """What the pipeline needs of the store. Reads are snapshots; a write's future is done once it is durable."""

    def spool_depth(self) -> SpoolDepth: ...  # noqa: D102 - as in store.spooling
    def spool_pending(self, *, items_max: int, bytes_max: int) -> Pending: ...  # noqa: D102 - as in store.spooling
    def submission(self, key: bytes) -> Submission | None: ...  # noqa: D102 - as in store.spooling
    def next_seal_state(self) -> SealState: ...  # noqa: D102 - as in store.spooling
    def unfinal_blocks(self) -> list[HeldBlock]: ...  # noqa: D102 - as in store.spooling
    def entry_index(self, author: str, number: int) -> int | None: ...  # noqa: D102 - as in store.ledger
    def locate(self, index: int) -> Location | None: ...  # noqa: D102 - as in store.ledger

    def tip(self, author: str) -> Tip | None: ...  # noqa: D102 - as in store.ledger

    def spool_submit(self, batch: SpoolBatch) -> Future[Submission]:
        """Spool a batch, or find it spooled already."""
        ...

    def submit(self, records: Iterable[SpoolRecord]) -> Future[int]:
        """Write these records in one transaction."""
        ...


@dataclass(frozen=True, slots=True)
class AuthorLimits:
    """What the membership and the configuration grant. Times in seconds, sizes in bytes."""

    quota_entries: int
    quota_bytes: int
    spool_entries_max: int = 1_000_000
    seal_interval: float = 0.1
    republish: float = 2.0


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs blocks, for which network."""

    name: str
    genesis_hash: bytes
    sign: Callable[[bytes], bytes]


class Author:
    """One author's desk and press. The runtime calls ``on_progress``; everything else is driven from here."""

    def __init__(
        self,
        signer: Signer,
        store: AuthorStore,
        limits: AuthorLimits,
        *,
        offer: Offer,
        wall_ms: Callable[[], int],
        metrics: Metrics,
        lost: bool = False,
        shapes: Shapes = SHAPES,
    ) -> None:
        self._signer = signer
        self._store = store
        self._limits = limits
        self._offer = offer
        self._wall_ms = wall_ms
        self._metrics = metrics
        self._shapes = shapes
        self._lost = lost
        self._published = 0
        self._changed = trio.Event()  # something for the press to do
        # Clients wait for one stage each: a hundred of them are not to be looked at for every submission.
        self._progressed = {stage: trio.Event() for stage in Stage}
        self._open: dict[int, float] = {}  # own block number -> when it was last offered
        self._surveyed = False
        self._sealed_at = float("-inf")
        # What is in blocks cannot be told from what waits by its size; the over-estimate only seals early once.
        self._unsealed_bytes = store.spool_depth().bytes
        prefix = entry_prefix(LeafKind.STATEMENT, signer.name, 1 << 63)
        self._prefix_bytes = 2 + len(prefix)
        self._head = prefix[:-9]
        self._prefixes = [self._head + encode_head(0, number) for number in range(BLOCK_ENTRIES_MAX)]
        self._entries_max = min(BLOCK_ENTRIES_MAX, limits.quota_entries)
        self._bytes_max = min(BLOCK_BYTES_MAX, limits.quota_bytes) - _HEADER_BYTES

    # --- the desk: what clients ask ---------------------------------------------------------------

    async def submit(self, batch: Batch, *, key: str | None) -> Receipt:
        """Validate and durably spool a batch (``seams.Desk``).

        Raises:
            StatementRefusedError: a statement breaks a rule.
            RequestError: SUBMIT-02 behind (429), SUBMIT-03 the disk is full (507), SUBMIT-04 the store refuses (503),
                SUBMIT-05 too large for the author's quota (413), SUBMIT-09 the key was used before (409).
        """
        name = key or secrets.token_hex(16)
        if key is not None and (known := self._store.submission(key.encode())) is not None:
            if known.digest != batch.digest:
                fact = "this idempotency key was used for another batch"
                raise RequestError("SUBMIT-09", fact, "use a new key for new content", status=409)
            return Receipt(name, known.count, repeated=True)
        depth = self._store.spool_depth()
        if depth.unfinal + len(batch.statements) > self._limits.spool_entries_max:
            fact = f"{depth.unfinal} entries wait to become final, at most {self._limits.spool_entries_max} may"
            raise RequestError("SUBMIT-02", fact, "wait, then send the batch again; glasslog status --why", status=429)
        items = tuple(self._validated(batch))
        weight = self._weigh(items)
        self._unsealed_bytes += weight  # before it is spooled: the press may take it before this task runs again
        try:
            spooled = await durably(self._store.spool_submit(SpoolBatch(name.encode(), batch.digest, items)))
        except (StoreError, RequestError) as error:
            self._unsealed_bytes -= weight
            if isinstance(error, StoreError):
                raise _refusal(error) from error
            raise
        self._wake()
        return Receipt(name, spooled.count, repeated=False)

    def state(self, submission: str) -> SubmissionState | None:
        """Return where a submission stands (``seams.Desk``)."""
        found = self._store.submission(submission.encode()) if 0 < len(submission) <= 64 else None
        if found is None:
            return None
        if found.stage is not SpoolStage.FINAL:
            stage = Stage.SEALED if found.stage is SpoolStage.SEALED else Stage.SPOOLED
            return SubmissionState(submission, found.count, stage, found.entries, (), None)
        runs = tuple(run for first, count in found.entries for run in self._runs(first, count))
        covered = max(run.index + run.count for run in runs)
        published = covered <= self._published
        stage = Stage.PUBLISHED if published else Stage.FINAL
        return SubmissionState(
            submission, found.count, stage, found.entries, runs, self._published if published else None
        )

    async def wait(self, submission: str, stage: Stage) -> SubmissionState | None:
        """Return once the submission has reached the stage (``seams.Desk``)."""
        while True:
            progressed = self._progressed[stage]
            state = self.state(submission)
            if state is None or state.stage >= stage:
                return state
            await progressed.wait()

    # --- what the runtime tells --------------------------------------------------------------------

    def on_progress(self, published: int) -> None:
        """Heights became final, or a checkpoint of this size was published: both durable here by now."""
        self._tell(Stage.FINAL)
        if published > self._published:
            self._published = published
            self._tell(Stage.PUBLISHED)
        self._wake()

    async def take_up(self, tip: Tip) -> None:
        """After lost state, n-f validators reported where this author's chain ends: seal on from there (A10)."""
        await durably(self._store.submit((AdoptTip(self._signer.name, tip),)))
        self._lost = self._surveyed = False
        self._wake()

    # --- the press ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Seal and publish until cancelled.

        Raises:
            StoreError: a block could not be made durable.
        """
        while True:
            changed = self._changed
            if not self._lost:
                self._publish()
                while self._should_seal():
                    await self._seal()
            with trio.move_on_after(self._patience()):
                await changed.wait()

    def _publish(self) -> None:
        """Forget blocks that are final; offer those that are not: unknown ones at once, old ones when due."""
        tip = self._store.tip(self._signer.name)
        final = 0 if tip is None else tip.seq
        self._open = {seq: offered for seq, offered in self._open.items() if seq > final}
        due = trio.current_time() - self._limits.republish
        if self._surveyed and all(offered > due for offered in self._open.values()):
            return  # their bodies are megabytes, not to be read at every turn
        self._surveyed = True
        survey: dict[int, float] = {}
        for block in self._store.unfinal_blocks():
            offered = self._open.get(block.ref.seq, float("-inf"))
            if offered <= due:
                offered = trio.current_time()
                self._offer(block)
            survey[block.ref.seq] = offered
        self._open = survey

    def _should_seal(self) -> bool:
        depth = self._store.spool_depth()
        if self._lost or not depth.unsealed or len(self._open) >= PENDING_BLOCKS_PER_AUTHOR_MAX:
            return False
        if not self._open or depth.unsealed >= self._entries_max or self._unsealed_bytes >= self._bytes_max:
            return True
        return trio.current_time() - self._sealed_at >= self._limits.seal_interval

    def _patience(self) -> float:
        """Return the seconds after which to look again though nothing was heard."""
        if self._lost or not self._open:
            return self._limits.republish
        wait = self._sealed_at + self._limits.seal_interval - trio.current_time()
        return wait if wait > 0 and self._store.spool_depth().unsealed else self._limits.republish

    async def _seal(self) -> None:
        """Cut the next block, make it durable, then offer it: in this order, or a crash could fork the chain."""
        pending = self._store.spool_pending(items_max=self._entries_max, bytes_max=self._bytes_max)
        items = self._fitting(pending.items)
        state = self._store.next_seal_state()
        block = self._build(items, state)
        record = SealBlock(block.ref, state.prev, state.first_entry, len(items), block.leaf, block.entries)
        await durably(self._store.submit((record,)))
        self._sealed_at = trio.current_time()
        self._unsealed_bytes = max(0, self._unsealed_bytes - self._weigh(items))
        self._metrics.blocks.inc()
        self._open[block.ref.seq] = trio.current_time()
        self._offer(HeldBlock(block.ref, block.leaf, block.entries))
        self._tell(Stage.SEALED)
        self._wake()

    def _build(self, items: Sequence[bytes], state: SealState) -> Block:
        return build_block(
            self._number(items, state.first_entry),
            genesis_hash=self._signer.genesis_hash,
            author=self._signer.name,
            seq=state.seq,
            prev=state.prev,
            first=state.first_entry,
            time=self._wall_ms(),
            sign=self._signer.sign,
        )

    # --- entries ------------------------------------------------------------------------------------

    def _number(self, items: Sequence[bytes], first: int) -> list[bytes]:
        """Return the entries of these statements, numbered from ``first``: the hot loop of an author."""
        head = self._head
        if first < 1 << 16 or (first + len(items)) >> 32:
            entries = [head + encode_head(0, number) + item for number, item in enumerate(items, first)]
        else:
            head += b"\x1a"  # 65,536 to 2^32 - 1: four bytes each (RFC 8949 section 3)
            entries = [head + number.to_bytes(4, "big") + item for number, item in enumerate(items, first)]
        return self._in_their_kind(items, entries, first)

    def _in_their_kind(self, items: Sequence[bytes], entries: list[bytes], first: int) -> list[bytes]:
        """Return the entries, those made over whose item is no statement: few blocks hold one.

        A third party's signed statement takes its number without stating it (specs/log.md, L6); a sealed item becomes
        its commitment, which covers the number (L5).
        """
        kinds = {item[:1] for item in items}
        if _SIGNED not in kinds and _SEALED not in kinds:
            return entries
        return [
            item if item[:1] == _SIGNED else self._sealed_entry(item, number) if item[:1] == _SEALED else entry
            for number, (item, entry) in enumerate(zip(items, entries, strict=True), first)
        ]

    def _sealed_entry(self, item: bytes, number: int) -> bytes:
        commitment = seal_item(item, self._signer.genesis_hash, self._signer.name, number)
        return encode_leaf(SealedEntry(self._signer.name, number, commitment))

    def _weigh(self, items: Sequence[bytes]) -> int:
        return sum(map(len, items)) + self._prefix_bytes * len(items)

    def _validated(self, batch: Batch) -> Sequence[bytes]:
        """Return the batch's statements once every one has passed what the validators will check."""
        try:
            return self._check(batch.statements, sealed=batch.sealed)
        except ProtocolError:
            return self._check_each(batch.exactly(), sealed=batch.sealed)

    def _check(self, statements: Sequence[bytes], *, sealed: bool) -> Sequence[bytes]:
        # The number an entry will have is not known before it is sealed, and no rule depends on it: each passes
        # with any, here with those whose prefixes are at hand.
        for start in range(0, len(statements), BLOCK_ENTRIES_MAX):
            part = statements[start : start + BLOCK_ENTRIES_MAX]
            entries = list(map(add, self._prefixes, part))
            # Where none may be, a sealed item is refused as the statement that it is not.
            entries = self._in_their_kind(part, entries, 0) if sealed else _bare_where_signed(part, entries)
            self._shapes.check_entries(entries, self._signer.name, 0)
        longest = max(map(len, statements))
        if longest + self._prefix_bytes > self._bytes_max:
            fact = f"a statement of {longest} bytes is over the author's quota of {self._limits.quota_bytes} a height"
            raise RequestError("SUBMIT-05", fact, "ask the governance for a larger quota", status=413)
        return statements

    def _check_each(self, statements: Sequence[bytes], *, sealed: bool) -> Sequence[bytes]:
        for position, statement in enumerate(statements):
            try:
                self._check([statement], sealed=sealed)
            except ProtocolError as error:
                raise StatementRefusedError(position, error) from error
        return statements

    def _fitting(self, items: Sequence[bytes]) -> Sequence[bytes]:
        """Return as many of the items as one block holds once each has its prefix."""
        if self._weigh(items) <= self._bytes_max:
            return items
        ends = accumulate(len(item) + self._prefix_bytes for item in items)
        return items[: sum(end <= self._bytes_max for end in ends)]

    def _runs(self, number: int, count: int) -> Iterable[Run]:
        """Yield where entries ``number..number + count - 1`` lie in the log: one run for each block they are in."""
        while count:
            index = self._store.entry_index(self._signer.name, number)
            location = None if index is None else self._store.locate(index)
            if index is None or location is None:
                raise StoreError("STORE-03", f"final entry {number} has no place in the log", "glasslog audit")
            width = min(count, location.leaves - 1 - location.position)
            yield Run(number, index, width)
            number, count = number + width, count - width

    def _tell(self, stage: Stage) -> None:
        """Wake the clients that wait for this stage."""
        self._progressed[stage].set()
        self._progressed[stage] = trio.Event()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


def _refusal(error: StoreError) -> RequestError:
    """Return what a client hears when its batch cannot be made durable."""
    cause = error.__cause__
    full = isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or any(sign in f"{error} {cause}" for sign in ("the disk is full", "No space left", "MDB_MAP_FULL")):
        return RequestError("SUBMIT-03", "the disk is full; nothing was taken", error.next_step, status=507)
    return RequestError("SUBMIT-04", "the store takes no more writes", error.next_step, status=503)


def _bare_where_signed(items: Sequence[bytes], entries: list[bytes]) -> list[bytes]:
    """Return the entries; a third party's signed statement takes its number without stating it (specs/log.md, L6)."""
    if _SIGNED not in {item[:1] for item in items}:
        return entries
    return [item if item[:1] == _SIGNED else entry for item, entry in zip(items, entries, strict=True)]
