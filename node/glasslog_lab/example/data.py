"""The handwritten digits of the example, pinned by hash, and the two data sets it makes of them."""

from __future__ import annotations

import csv
import gzip
import io
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from glasslog_lab.errors import ArtifactError

FILE = Path(__file__).with_name("digits.csv.gz")
FILE_SHA256 = "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"
SIDE = 8
PIXELS = SIDE * SIDE
INK_MAX = 16
CLASSES = 10
TEST_DIGITS = 500  # the last ones of the file; the others are trained on
_COLUMNS = [*(f"pixel-{row}-{column}" for row in range(SIDE) for column in range(SIDE)), "digit"]


@dataclass(frozen=True, slots=True)
class Digit:
    """One image: 64 bytes of ink from 0 to 16, row by row, and which digit its writer meant."""

    ink: bytes
    label: int

    @property
    def pixels(self) -> tuple[float, ...]:
        """The ink as sixteenths of one, which binary32 holds exactly."""
        return tuple(ink / INK_MAX for ink in self.ink)


def load_digits() -> tuple[list[Digit], list[Digit]]:
    """Return the digits to train on and the digits to test with.

    Raises:
        ArtifactError: EXAMPLE-01, the packaged file is missing or not the one that is pinned.
    """
    try:
        packed = FILE.read_bytes()
    except OSError as error:
        raise _refusal(f"{FILE} cannot be read: {error.strerror}") from error
    if sha256(packed).hexdigest() != FILE_SHA256:
        raise _refusal(f"{FILE} is not the file that is pinned")
    rows = csv.reader(io.StringIO(gzip.decompress(packed).decode("ascii")))
    digits = [Digit(bytes(map(int, row[:PIXELS])), int(row[PIXELS])) for row in rows]
    return digits[:-TEST_DIGITS], digits[-TEST_DIGITS:]


def write_digits(digits: list[Digit], path: Path) -> None:
    """Write digits as a table whose first row names the columns: a record for each digit."""
    with path.open("w", newline="", encoding="ascii") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows([*digit.ink, digit.label] for digit in digits)


def read_digits(path: Path) -> list[Digit]:
    """Return the digits of a table that ``write_digits`` wrote.

    Raises:
        ArtifactError: EXAMPLE-02, it is not such a table.
    """
    digits = list[Digit]()
    try:
        with path.open(newline="", encoding="ascii") as stream:
            rows = csv.reader(stream, strict=True)
            header = next(rows, None)
            for row in rows:
                *ink, label = map(int, row)
                digits.append(Digit(bytes(ink), label))
    except (OSError, ValueError, csv.Error) as error:
        raise _unreadable(path, str(error)) from error
    if header != _COLUMNS or not digits:
        raise _unreadable(path, "it has other columns, or no row")
    if any(len(one.ink) != PIXELS or max(one.ink) > INK_MAX or not 0 <= one.label < CLASSES for one in digits):
        raise _unreadable(path, f"a row is not {PIXELS} pixels of 0 to {INK_MAX} and a digit")
    return digits


def draw(digit: Digit) -> list[str]:
    """Return an image as eight lines of sixteen characters: the more ink, the denser."""
    shades = " .:-=+*#%@"
    lines = [digit.ink[start : start + SIDE] for start in range(0, PIXELS, SIDE)]
    return ["".join(2 * shades[ink * (len(shades) - 1) // INK_MAX] for ink in line) for line in lines]


def _refusal(fact: str) -> ArtifactError:
    return ArtifactError("EXAMPLE-01", fact, "install glasslog anew")


def _unreadable(path: Path, reason: str) -> ArtifactError:
    return ArtifactError("EXAMPLE-02", f"{path} is no table of digits: {reason}", "train again into a new folder")
