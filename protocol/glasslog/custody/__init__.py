"""Custody of a training: a hash chain with one record per optimizer step, cut into segments (specs/custody.md).

Pure: what a chain is and how one is judged. A recorder makes records (``Chain``), an auditor with the records repeats
the very same transitions (``verify_run``), and a reader of the ledger alone checks that segments join
(``verify_segments``). A chain shows precedence and consistency. It does not show that nothing else was trained.
"""

from glasslog.custody.chain import Chain, Roots, end_of, verify_run, verify_segment, verify_segments
from glasslog.custody.records import (
    STATES,
    Counts,
    Event,
    Kind,
    Level,
    Record,
    RunEnd,
    RunStart,
    Segment,
    count_event,
)
from glasslog.custody.sampling import Shard, choose_segments, detection_probability, merge_ranks, shards_root

__all__ = [
    "STATES",
    "Chain",
    "Counts",
    "Event",
    "Kind",
    "Level",
    "Record",
    "Roots",
    "RunEnd",
    "RunStart",
    "Segment",
    "Shard",
    "choose_segments",
    "count_event",
    "detection_probability",
    "end_of",
    "merge_ranks",
    "shards_root",
    "verify_run",
    "verify_segment",
    "verify_segments",
]
