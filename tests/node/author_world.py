"""An author's node without its network: a real store, the real pipeline, and a ledger that finalizes on demand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import trio

from glasslog.agreement.effects import HeldBlock, PublishedNote
from glasslog.block import Block, Verify, verify_block
from glasslog.identity import Ed25519Key, verify_ed25519
from glasslog.ledger import Tip
from glasslog_node.store import Store, create_mark, default_mark_path
from glasslog_node.submit import Author, AuthorLimits, Signer
from glasslog_node.telemetry import Metrics
from node.store_world import World

AUTHOR = "lab-a"
KEY = Ed25519Key(b"\x07" * 32)
LIMITS = AuthorLimits(quota_entries=65_536, quota_bytes=16 << 20)


@dataclass
class Office:
    """``offered`` are the blocks that the pipeline handed to the replica; ``finalize`` makes them final."""

    path: Path
    world: World
    store: Store
    author: Author
    offered: list[HeldBlock] = field(default_factory=list[HeldBlock])
    verify: Verify = verify_ed25519

    @classmethod
    def new(cls, path: Path, limits: AuthorLimits = LIMITS) -> Office:
        world = World()
        create_mark(default_mark_path(path), world.genesis_hash)
        return cls.open(path, world, limits)

    @classmethod
    def open(cls, path: Path, world: World, limits: AuthorLimits = LIMITS) -> Office:
        store = Store.open(path, create=True, genesis=world.genesis)
        offered: list[HeldBlock] = []
        author = Author(
            Signer(AUTHOR, world.genesis_hash, KEY.sign), store, limits,
            offer=offered.append, wall_ms=lambda: 5_000, metrics=Metrics(), lost=store.state_lost,
        )  # fmt: skip
        return cls(path, world, store, author, offered)

    def check(self, held: HeldBlock) -> Block:
        """Check an offered block as every validator would."""
        return verify_block(
            held.header, held.entries, genesis_hash=self.world.genesis_hash,
            author_key=lambda name: KEY.public if name == AUTHOR else None, verify=self.verify,
        )  # fmt: skip

    def finalize(self) -> None:
        """Make a height of every block that is sealed and not final."""
        blocks = [self.check(held) for held in self.store.unfinal_blocks()]
        for block in blocks:
            self.world.blocks[block.ref] = block
            self.world.tips[AUTHOR] = Tip(block.header.seq, block.hash, block.next_entry)
        self.store.commit(self.world.height(*blocks))
        self.author.on_progress(0)

    def publish(self) -> int:
        """Publish the ledger as it is; return its size."""
        size = self.world.state.size
        self.store.commit([PublishedNote(size, f"note of {size}\n".encode())])
        self.author.on_progress(size)
        return size

    def statements(self) -> list[bytes]:
        """Return every final entry of the author, in the order of the log."""
        return [leaf for leaf in self.world.leaves if leaf[:2] == b"\x84\x00"]

    def close(self) -> None:
        self.store.close()


async def until(condition: Callable[[], bool]) -> None:
    """Return once the condition holds; the test's own deadline ends it if it never does."""
    while not condition():
        await trio.sleep(0.002)


def numbers(entries: Sequence[bytes]) -> list[int]:
    """Return the entries' own numbers."""
    from glasslog.entry import read_prefix

    return [read_prefix(entry)[2] for entry in entries]
