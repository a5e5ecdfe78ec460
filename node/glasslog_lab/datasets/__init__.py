"""Data sets: records in the containers labs keep them in, and what a set of records is known by (specs/datasets.md)."""
