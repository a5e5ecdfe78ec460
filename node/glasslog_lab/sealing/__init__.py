"""What a lab keeps to itself: the vault of sealed content, envelopes, escrow, the clock (specs/secrecy.md)."""
