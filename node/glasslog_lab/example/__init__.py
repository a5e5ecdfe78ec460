"""A small real training as a lab would write it: handwritten digits, every update recorded, no framework."""
