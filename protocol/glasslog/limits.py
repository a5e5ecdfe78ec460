"""Every size and count the protocol bounds, in one place, with the relations between them asserted.

A limit that two nodes could read differently is a fork, so none of these is configurable.
Sources: specs/log.md (leaves, blocks), specs/agreement.md (proposals), specs/wire.md (messages).
"""

from __future__ import annotations

# --- leaves (specs/log.md, L2): a tlog-tiles entry bundle carries a uint16 length ---------------
LEAF_BYTES_MAX = 65_535
STATEMENT_BYTES_MAX = 60_000
SUBJECTS_MAX = 64
CBOR_DEPTH_MAX = 16
NAME_BYTES_MAX = 63

# --- attestation blocks (specs/log.md, L6) ------------------------------------------------------
BLOCK_ENTRIES_MAX = 4_096
BLOCK_BYTES_MAX = 1 << 20  # the body: every entry and the header, each behind its uint16 length
HEADER_LEAF_BYTES_MAX = 1_024

# --- heights (specs/agreement.md, A2) -----------------------------------------------------------
HEIGHT_ENTRIES_MAX = 65_536
HEIGHT_BYTES_MAX = 16 << 20
CLOCK_SKEW_MS_MAX = 10_000

# --- members ------------------------------------------------------------------------------------
VALIDATORS_MIN = 4
VALIDATORS_MAX = 64
MEMBERS_MAX = 4_096

# --- messages (specs/wire.md) -------------------------------------------------------------------
MESSAGE_BYTES_MAX = BLOCK_BYTES_MAX + (64 << 10)
RUN_HEIGHTS_MAX = 256  # proposals in one catch-up answer
HAVES_MAX = 1_024  # references in one Have
REQUEST_VIEWS_MAX = 128  # certificates asked for at once
ANNOUNCED_MAX = 64  # header leaves in one announcement
REQUEST_BLOCKS_MAX = 64  # blocks of one author asked for at once

# --- what an author may hold open on every replica before finality (specs/agreement.md, A9) -------
PENDING_BLOCKS_PER_AUTHOR_MAX = 64
FORK_SIBLINGS_MAX = 2

assert STATEMENT_BYTES_MAX + NAME_BYTES_MAX + 32 <= LEAF_BYTES_MAX, "a statement entry must fit a leaf"
assert BLOCK_ENTRIES_MAX <= HEIGHT_ENTRIES_MAX, "one block must fit a height"
assert BLOCK_BYTES_MAX <= HEIGHT_BYTES_MAX, "one block must fit a height"
assert BLOCK_BYTES_MAX < MESSAGE_BYTES_MAX, "one block must fit a message"
assert LEAF_BYTES_MAX + 2 + HEADER_LEAF_BYTES_MAX + 2 <= BLOCK_BYTES_MAX, "the largest leaf must fit a block"
