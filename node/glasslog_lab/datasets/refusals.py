"""One line for whatever a data set has wrong with it: a code, what is wrong, what to do."""

from __future__ import annotations

from typing import NoReturn

from glasslog_lab.errors import ArtifactError

_NEXT_STEPS = {
    "DATA-10": "check the path and its mode",
    "DATA-11": "copy what the link leads to into the folder, or take it out",
    "DATA-12": "wait until nothing writes to it",
    "DATA-13": "say what the records are with --format",
    "DATA-14": "mend the line, or read lines as they are with --format lines",
    "DATA-15": "write the number as a string, or read lines as they are with --format lines",
    "DATA-16": "split the record, or make each a file of its own",
    "DATA-17": "convert the file to UTF-8",
    "DATA-18": "write the file anew with a CSV library, its columns named in the first row",
    "DATA-19": "pack the archive anew from plain files",
    "DATA-20": "compress the file anew, or fetch it again",
    "DATA-21": "unpack it and look; to read it all the same, allow more with --expansion",
    "DATA-22": "fetch the files themselves, with git lfs pull",
    "DATA-23": "write the file anew with a current Parquet library, with columns of plain types",
    "DATA-24": "mend the Croissant file, or leave it out",
    "DATA-25": "find out which of the two is wrong before anything is attested",
    "DATA-26": "measure the data set again to rebuild its index",
    "DATA-27": "name a field that every record has",
    "DATA-28": "mend the facts; specs/statements/dataset.md lists what may stand there",
    "DATA-29": "make room, or name another folder",
    "DATA-30": "name the file of the secret that the data set was measured with",
    "DATA-31": "say which record is meant: a file with --as, --value or --digest",
    "DATA-32": "give the statement of the data set that the proof is about",
}


def refusal(code: str, fact: str) -> ArtifactError:
    """Return the error for a data set that cannot be measured as it is."""
    return ArtifactError(code, fact, _NEXT_STEPS[code])


def refuse(code: str, fact: str) -> NoReturn:
    """Raise that error."""
    raise refusal(code, fact)


def lacks_package(name: str, package: str) -> ArtifactError:
    """Return the error for a file that only an optional package reads."""
    return ArtifactError("EXTRA-01", f"{quote(name)} needs the Python package {package}", f"pip install {package}")


def quote(name: object) -> str:
    """Return a stranger's name as a short printable text."""
    text = ascii(name) if not isinstance(name, str) or not name.isprintable() else repr(name)
    return text if len(text) <= 100 else text[:97] + "..."
