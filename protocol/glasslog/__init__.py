"""glasslog: the pure protocol. No I/O, clock, randomness or threads (specs/agreement.md)."""
