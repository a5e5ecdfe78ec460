"""The store: one LMDB environment a replica, its durability contract, a rebuildable index apart (specs/storage.md)."""

from glasslog_node.store.backup import backup_full, backup_replica, open_replica
from glasslog_node.store.index import Index
from glasslog_node.store.ledger import FinalizedHeight, Ledger, Location, Span
from glasslog_node.store.mark import create_mark, default_mark_path
from glasslog_node.store.spool import (
    AdoptTip,
    Pending,
    SealBlock,
    SealState,
    SpoolBatch,
    SpoolDepth,
    SpoolRecord,
    Stage,
    Submission,
)
from glasslog_node.store.store import Store

__all__ = [
    "AdoptTip",
    "FinalizedHeight",
    "Index",
    "Ledger",
    "Location",
    "Pending",
    "SealBlock",
    "SealState",
    "Span",
    "SpoolBatch",
    "SpoolDepth",
    "SpoolRecord",
    "Stage",
    "Store",
    "Submission",
    "backup_full",
    "backup_replica",
    "create_mark",
    "default_mark_path",
    "open_replica",
]
