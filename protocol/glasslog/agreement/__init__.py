"""Agreement: Simplex by the rules of specs/agreement.md, and nothing cleverer."""
