"""Weights by content: readers that run nothing, digests at the speed of the disk, comparisons and proofs.

``measuring.measure`` is the way in; specs/weights.md says what is digested and why.
"""
