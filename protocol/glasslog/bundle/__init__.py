"""Bundles: one file with all that one entry needs to be verified offline (specs/log.md, L11).

A bundle is one deterministic-CBOR array, and nothing in it is left to trust: every leaf stands under the published
checkpoint's root by a path whose length follows from its place, the checkpoint stands under a quorum of the policy's
keys, the author's signature under the key of its membership leaf. What follows from something else is not stated
again, so that no byte is without effect.
"""

from glasslog.bundle.form import BUNDLE_BYTES_MAX, BUNDLE_DOMAIN, Bundle
from glasslog.bundle.making import LedgerReader, export_tlog_proof, make_bundle
from glasslog.bundle.sealed import (
    FieldOpening,
    Opening,
    StatementOpening,
    compute_commitment,
    field_root,
    statement_root,
)
from glasslog.bundle.verifying import NEXT_STEPS, Finalizer, Verified, read_finalizers, read_policy, verify_bundle

__all__ = [
    "BUNDLE_BYTES_MAX",
    "BUNDLE_DOMAIN",
    "NEXT_STEPS",
    "Bundle",
    "FieldOpening",
    "Finalizer",
    "LedgerReader",
    "Opening",
    "StatementOpening",
    "Verified",
    "compute_commitment",
    "export_tlog_proof",
    "field_root",
    "make_bundle",
    "read_finalizers",
    "read_policy",
    "statement_root",
    "verify_bundle",
]
