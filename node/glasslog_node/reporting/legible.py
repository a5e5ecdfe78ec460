"""Other people's text made harmless to read: what a page or print shows of it (G9).

Whatever moves, hides or reorders other text is shown as its code point: controls, line ends in names, directional
marks, characters without width. Marks that pile up on one letter are cut off at four.
"""

from __future__ import annotations

import unicodedata
from hashlib import sha256

SHOWN_MAX = 600  # characters of one name or fact; the JSON has all
_MARKS_MAX = 4


def show(text: object, most: int = SHOWN_MAX) -> str:
    """Return text for one line of a page, cut where it is long and saying so."""
    whole = str(text)
    if len(whole) <= most:
        return "".join(_visible(whole))
    digest = sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    left = len(whole) - most
    return "".join(_visible(whole[:most])) + f" … ({left} more characters in the JSON; sha256 of all: {digest}…)"


def show_lines(text: str) -> list[str]:
    """Return a longer text by its lines, none of it cut."""
    return ["".join(_visible(line)) for line in text.replace("\r\n", "\n").split("\n")]


def _visible(text: str) -> list[str]:
    shown: list[str] = []
    marks = 0
    for character in text:
        marks = marks + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
        plain = character.isprintable() and marks <= _MARKS_MAX
        shown.append(character if plain else f"⟨U+{ord(character):04X}⟩")
    return shown
