"""What a data set commits to, record by record, and how one record is shown to be in it or not (specs/datasets.md)."""

from glasslog.records.digests import (
    BUCKETS,
    KINDS,
    SECRET_BYTES,
    Blinding,
    BucketOpening,
    record_digest,
    sample_content,
    start_record,
)
from glasslog.records.proof import (
    PROOF_BYTES_MAX,
    Exclusion,
    Inclusion,
    Placement,
    RecordProof,
    decode_proof,
    encode_proof,
    order_root,
    records_root,
    verify_proof,
)
from glasslog.records.tree import EMPTY_TREE, Branch, Subtree, fold, hash_entry, walk

__all__ = [
    "BUCKETS",
    "EMPTY_TREE",
    "KINDS",
    "PROOF_BYTES_MAX",
    "SECRET_BYTES",
    "Blinding",
    "Branch",
    "BucketOpening",
    "Exclusion",
    "Inclusion",
    "Placement",
    "RecordProof",
    "Subtree",
    "decode_proof",
    "encode_proof",
    "fold",
    "hash_entry",
    "order_root",
    "record_digest",
    "records_root",
    "sample_content",
    "start_record",
    "verify_proof",
    "walk",
]
